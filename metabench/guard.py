"""Running what a gate judges: the cells of a learner in a repository, as its code is now."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.errors import MetabenchError
from metabench.records import Parameter
from metabench.store import Results, Store

if TYPE_CHECKING:
    from metabench.running.local import Watcher


@dataclass(frozen=True)
class Guarded:
    """A learner and where its cells are."""

    name: str
    """As its card has it."""
    reference: str
    suites: tuple[str, ...]
    folder: Path


def guarded(learner: str, suites: Sequence[str], runs: Path, root: Path) -> Guarded:
    """Find a learner and suites; paths are relative to ``root``, which modules are found in too.

    The folder's name has the digest of the learner's code, so that no result outlives it.
    """
    from metabench.gate.fresh import code_digest
    from metabench.learners.build import find_learner

    if str(root.resolve()) not in sys.path:
        sys.path.insert(0, str(root.resolve()))
    home, colon, name = learner.rpartition(":")
    if home.endswith(".py"):
        learner = f"{(root / home).resolve()}{colon}{name}"
    found = find_learner(learner)
    names = tuple(str((root / s).resolve()) if (root / s).exists() else s for s in suites)
    return Guarded(found.card.name, learner, names, runs / code_digest(learner))


def run(
    one: Guarded,
    preset: str,
    seeds: int | None,
    parameters: Mapping[str, Parameter] | None = None,
    *,
    earlier: Sequence[Path] = (),
    data_root: Path | None = None,
    workers: int | None = None,
    watcher: Watcher | None = None,
    retry: bool = True,
) -> Results:
    """Run the cells that are not there yet; those of baselines are taken from ``earlier`` runs.

    With ``retry`` a cell that failed runs again: what stopped it may have been the machine.
    """
    from metabench import api
    from metabench.gate.fresh import carry
    from metabench.learners.contract import LEARNERS
    from metabench.running.environment import describe
    from metabench.running.plan import select_device

    if not one.suites:
        raise MetabenchError("no suite was named")
    store = Store(one.folder)
    store.open()
    if one.name not in LEARNERS or not LEARNERS.get(one.name).__module__.startswith("metabench."):
        carry(earlier, store, describe(select_device("auto")), one.name)
    return api.run(
        one.reference,
        list(one.suites),
        preset=preset,
        seeds=seeds,
        out=one.folder,
        parameters={one.name: dict(parameters)} if parameters else None,
        data_root=data_root,
        workers=workers,
        watcher=watcher,
        retry=retry,
    )
