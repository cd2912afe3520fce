"""Which cells of earlier runs still hold: none of a learner whose code has moved.

A record's identity has the hash of the learner's own file. What that file imports is not in it, so
a guarded learner runs in a folder named after all the code of its package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from metabench.errors import MetabenchError
from metabench.records import Environment, Record
from metabench.store import Store, read_record

BESIDE = ("metabench", "torch", "numpy")
"""Distributions whose versions count as code."""
KEPT = 8
"""Runs of earlier code that are kept, for a commit that comes back."""
SAME = ("metabench", "python", "torch", "numpy", "platform", "device")
"""Of the environment: a record made elsewhere is made again."""


def code_digest(reference: str) -> str:
    """12 hex digits of every Python file that a learner may be made of, and of what runs it.

    That is its top-level package or module, or the folder of a ``file.py:Class``; of a registered
    name, the package that registers it.
    """
    home, _, _ = reference.rpartition(":")
    if home.endswith(".py"):
        roots = [Path(home).resolve().parent]
    else:
        roots = _package((home or _registrar(reference)).partition(".")[0])
    known = hashlib.sha256()
    for root in roots:
        files = [root] if root.is_file() else sorted(root.rglob("*.py"))
        for path in files:
            inside = path.relative_to(root).parts
            if not any(part.startswith(".") or part == "site-packages" for part in inside):
                known.update(f"{'/'.join(inside)}\0".encode())
                known.update(hashlib.sha256(path.read_bytes()).digest())
    for name in BESIDE:
        known.update(f"{name} {_version(name)}\0".encode())
    return known.hexdigest()[:12]


def _registrar(name: str) -> str:
    found = [e.module for e in entry_points(group="metabench.learners") if e.name == name]
    return found[0] if found else "metabench"


def _package(name: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise MetabenchError(f"learner: no module {name!r}; is it installed, or beside the file?")
    if spec.submodule_search_locations:
        return [Path(p) for p in sorted(spec.submodule_search_locations)]
    return [Path(str(spec.origin))]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        import metabench

        return metabench.__version__ if name == "metabench" else ""


def carry(sources: Iterable[Path], target: Store, environment: Environment, own: str) -> int:
    """Copy cells of shipped learners, as baselines are, from earlier runs; how many.

    ``own``, the guarded learner, is left out, and so is what another environment made.
    """
    carried = 0
    for source in sources:
        for path in sorted((source / "records").glob("*.json")):
            if target.has(path.stem):
                continue
            try:
                record = read_record(path)
            except MetabenchError:
                continue
            if _holds(record, environment) and record.key.learner != own:
                rows = path.with_suffix(".parquet")
                if rows.exists():
                    _copy(rows, target.records)
                    _copy(path, target.records)
                    carried += 1
    return carried


def _holds(record: Record, environment: Environment) -> bool:
    made = record.environment
    same = all(getattr(made, name) == getattr(environment, name) for name in SAME)
    return same and record.status == "ok" and not record.key.learner_digest


def _copy(path: Path, folder: Path) -> None:
    # The record comes after its rows, and each under its name only when it is whole.
    part = folder / f".tmp-{path.name}"
    shutil.copyfile(path, part)
    part.replace(folder / path.name)


def accept(candidate: Iterable[Record], run: Path, baseline: Path) -> None:
    """Make these cells of a run the baseline, in place of those that were."""
    target = Store(baseline)
    target.open()
    with target.lock():
        kept = {record.id for record in candidate}
        for old in target.records.glob("*.json"):
            if old.stem not in kept:
                target.discard(old.stem)
        for record_id in sorted(kept):
            for suffix in (".parquet", ".json"):
                path = run / "records" / f"{record_id}{suffix}"
                if path.exists():
                    _copy(path, target.records)


def prune(runs: Path, current: Path) -> None:
    """Remove the oldest runs of code that is no more; folders of other names are left alone."""
    current.touch()
    digests = [p for p in runs.iterdir() if re.fullmatch(r"[0-9a-f]{12}", p.name) and p != current]
    by_age = sorted((p for p in digests if p.is_dir()), key=lambda p: p.stat().st_mtime)
    for old in by_age[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
