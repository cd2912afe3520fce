"""Reads image data sets: local Parquet files, or the hub of ``datasets``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError, one_line
from metabench.tasks.cache import Manifest, cache_dir, cached_pool, data_root, file_digest
from metabench.tasks.pool import ClassPool


def load_pool_of(
    folder: str,
    hub_name: str,
    split: str,
    columns: tuple[str, ...],
    build: Callable[[Any], ClassPool],
    version: int,
    part: str = "",
) -> ClassPool:
    """The class pool of one split, parsed once and then read from the cache.

    ``split`` may join several by "+". ``build`` gets the rows as a ``datasets.Dataset``; ``part``
    names what it makes of them where one split makes several pools. With a data root the files are
    ``<root>/<folder>/<split>.parquet``, otherwise the hub is asked. Raises MetabenchError naming
    the file or hub, and how to get the data.
    """
    root = data_root()
    name = "-".join(filter(None, (folder, split, part)))
    about = {"split": split, "version": str(version)} | ({"part": part} if part else {})
    if root is None:
        manifest: Manifest = {"hub": hub_name, **about}
        return cached_pool(name, manifest, lambda: build(_from_hub(folder, hub_name, split)))
    paths = [root / folder / f"{one}.parquet" for one in split.split("+")]
    for path in paths:
        require_file(path, f"the columns of {hub_name}")
    manifest = {"file": "+".join(map(file_digest, paths)), **about}

    def from_files() -> ClassPool:
        rows = [read_rows(path, columns) for path in paths]
        return build(_quiet_datasets().concatenate_datasets(rows) if rows[1:] else rows[0])

    return cached_pool(name, manifest, from_files)


def require_file(path: Path, what: str) -> None:
    """Raise MetabenchError where a file of the data root is missing."""
    if not path.is_file():
        raise MetabenchError(
            f"{path}: no such file; the data root must hold {path.parent.name}/{path.name} "
            f"with {what}"
        )


def read_rows(path: Path, columns: tuple[str, ...]) -> Any:
    """The rows of a Parquet file; raises MetabenchError unless it has these columns."""
    datasets = _quiet_datasets()
    try:
        rows = datasets.load_dataset(
            "parquet",
            data_files=str(path),
            split="train",
            cache_dir=str(cache_dir() / "datasets"),
        )
    except Exception as error:
        raise MetabenchError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    missing = [c for c in columns if c not in rows.column_names]
    if missing:
        found = ", ".join(rows.column_names)
        raise MetabenchError(f"{path}: column {missing[0]!r} is missing; found {found}")
    return rows


def _from_hub(folder: str, hub_name: str, split: str) -> Any:
    datasets = _quiet_datasets()
    try:
        return datasets.load_dataset(hub_name, split=split, cache_dir=str(cache_dir() / "datasets"))
    except Exception as error:
        raise MetabenchError(
            f"{folder}: no data: set METABENCH_DATA or --data-root to a folder that holds "
            f"{folder}/{split}.parquet, or go online for {hub_name} ({one_line(error)[:200]})"
        ) from None


def _quiet_datasets() -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    return datasets
