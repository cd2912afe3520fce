"""The peers, imported without what they import and never use here.

torchvision, gym, gsutil, graphviz and qpth are asked for at import by learn2learn, EasyFSL and
Torchmeta, for data sets and environments that no measurement here touches. Stand-ins let the
import pass; nothing that is timed calls into one.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

STOOD_IN = ("torchvision", "gym", "gsutil", "graphviz", "qpth", "pytorch_lightning")
PEERS = ("learn2learn", "easyfsl", "torchmeta", "higher")


class _StandIn(ModuleType):
    """A module of which every attribute is a class that takes any arguments."""

    __path__: list[str] = []  # noqa: RUF012 - what makes a module a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__init__": lambda self, *args, **kwargs: None})
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for the packages that are not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in STOOD_IN:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


@cache
def _stand_in() -> None:
    # Last, so that a package that is installed is preferred.
    sys.meta_path.append(_Finder())


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def peer(name: str) -> Any:
    """The peer's module ``name``, or None where it is not installed; peers have no types."""
    if version(name.partition(".")[0]) is None:
        return None
    _stand_in()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(name)
    _repair(name, module)
    return module


def _repair(name: str, module: Any) -> None:
    """What keeps a peer from running on a torch of today."""
    if name == "torchmeta.utils.data":
        # torch's Subset asks for it of every subclass that has a __getitem__ of its own.
        module.SubsetTask.__getitems__ = lambda self, indices: [self[i] for i in indices]
    if name == "easyfsl.samplers":
        # torch's Sampler no longer takes a data source, which EasyFSL gives as None.
        (base,) = module.TaskSampler.__bases__
        takes_source = type(base.__name__, (base,), {"__init__": lambda self, data_source: None})
        module.TaskSampler.__bases__ = (takes_source,)
