"""One mechanism for every registry: a decorator here, an entry point elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from metabench.errors import MetabenchError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names -> objects of one kind.

    ``what`` is the word used in messages ("learner"); installed packages add to the registry
    through the entry-point ``group``, loaded when a name is first looked up.
    """

    def __init__(self, what: str, group: str) -> None:
        self.what = what
        self.group = group
        self._items: dict[str, T] = {}
        self._entry_points_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files an object under ``name``; a taken name is an error."""

        def add(item: T) -> T:
            if name in self._items:
                raise MetabenchError(f"{self.what} {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def get(self, name: str) -> T:
        """The object of that name; raises MetabenchError naming the nearest valid one."""
        self._load_entry_points()
        if name not in self._items:
            raise MetabenchError(unknown(self.what, name, self._items))
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        self._load_entry_points()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(sorted(self._items))

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True
        for entry in entry_points(group=self.group):
            self.register(entry.name)(entry.load())
