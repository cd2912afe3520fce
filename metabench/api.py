"""Everything the command line does, as typed functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metabench.errors import MetabenchError
from metabench.records import Parameter, Provenance, Record
from metabench.store import Results, Store, load_records
from metabench.suite import Suite, load_suite

if TYPE_CHECKING:
    from metabench.boards import Board
    from metabench.checking import CheckReport
    from metabench.running.local import Watcher
    from metabench.running.plan import LearnerChoice

__all__ = ["board", "check", "load_records", "load_suite", "report", "run"]


def run(
    learners: LearnerChoice | Sequence[LearnerChoice],
    suite: str | Path | Suite | Sequence[str | Path | Suite],
    *,
    preset: str = "smoke",
    seeds: int | None = None,
    out: str | Path = "runs/default",
    device: str = "auto",
    workers: int | None = None,
    data_root: str | Path | None = None,
    parameters: Mapping[str, Mapping[str, Parameter]] | None = None,
    retry: bool = False,
    checkpoint_seconds: float = 15.0,
    provenance: Provenance = "claimed",
    salt: str | Path | None = None,
    watcher: Watcher | None = None,
) -> Results:
    """Meta-train and score learners, beside the suite's baselines; returns all their results.

    ``learners`` are registered names, ``module:Class`` or ``file.py:Class`` references, or
    classes; ``seeds`` meta-seeds 0..n-1 (by default the preset's). Finished cells in ``out`` are
    kept and an interrupted one goes on from its last checkpoint; ``retry`` runs cells again that
    failed. ``workers`` processes run cells side by side (by default one a core, one on a GPU);
    0 runs them in this process, as does any class that was given as an object. ``parameters``
    gives hyper-parameters by learner name. ``provenance`` is ``verified`` where whoever runs this
    is not who wrote the learners. ``salt`` is the file of a secret (``metabench board salt``) that
    test episodes are drawn with: private ones, in records of their own.

    Raises MetabenchError for anything that can be known to be wrong before work begins. A learner
    that fails afterwards has a record that says so, and the other cells go on.
    """
    from metabench.running.cell import Settings
    from metabench.running.environment import describe
    from metabench.running.local import Watcher, run_here, run_in_processes
    from metabench.running.plan import by_cost, plan, select_device
    from metabench.salt import commitment, read_salt
    from metabench.tasks.cache import set_data_root

    if data_root is not None:
        set_data_root(data_root)
    chosen = select_device(device)
    several_learners = [learners] if isinstance(learners, str | type) else list(learners)
    several_suites = [suite] if isinstance(suite, str | Path | Suite) else list(suite)
    secret = None if salt is None else read_salt(salt)
    committed = "" if secret is None else commitment(secret)
    cells = plan(several_learners, several_suites, preset, seeds, parameters, committed)
    store = Store(out)
    store.open()
    settings = Settings(
        device=str(chosen),
        environment=describe(chosen),
        data_root=None if data_root is None else str(Path(data_root).resolve()),
        checkpoint_seconds=checkpoint_seconds,
        provenance=provenance,
        salt=secret,
    )
    if workers is None:
        workers = 1 if chosen.type == "cuda" else os.cpu_count() or 1
    if workers < 0:
        raise MetabenchError(f"workers: must be 0 or more, found {workers}")
    watcher = watcher or Watcher()
    with store.lock():
        finished: list[Record] = []
        waiting = []
        for cell in by_cost(cells):
            if store.has(cell.id):
                record = store.read(cell.id)
                if record.measured or not retry:
                    finished.append(record)
                    continue
                store.discard(cell.id)
            waiting.append(cell)
        watcher.planned(len(cells), waiting, workers)
        passed_as_objects = any(c.learner is not None and c.reference is None for c in waiting)
        if workers == 0 or passed_as_objects:
            finished += run_here(waiting, store, settings, watcher)
        else:
            finished += run_in_processes(waiting, store, settings, watcher, workers)
    return store.results(finished)


def check(learner: LearnerChoice, device: str = "auto") -> CheckReport:
    """Whether a learner keeps the contract: a report with one line a property."""
    from metabench.checking import check_learner
    from metabench.running.plan import choose, select_device

    return check_learner(choose(learner)[0], select_device(device))


def submit(
    folder: str | Path,
    suite: str | Path | Suite | Sequence[str | Path | Suite],
    *,
    isolation: Literal["auto", "sandbox", "process"] = "auto",
    out: str | Path = "runs/submission",
    preset: str = "smoke",
    seeds: int | None = None,
    salt: str | Path | None = None,
    data_root: str | Path | None = None,
    retry: bool = False,
    watcher: Watcher | None = None,
) -> Results:
    """Score the submission of a folder as ``run`` scores a learner, its code contained.

    Its records are ``verified``: the scorer drew the episodes, trained and scored it here, and say
    what stood between its code and the scorer (docs/threat-model.md). Raises MetabenchError where
    the folder has a problem or the isolation can't be had.
    """
    from metabench.submission.findings import open_submission
    from metabench.submission.remote import contained

    path = Path(folder)
    learner = contained(open_submission(path), path, isolation=isolation)
    return run(
        learner,
        suite,
        preset=preset,
        seeds=seeds,
        out=out,
        device="cpu",
        data_root=data_root,
        retry=retry,
        provenance="verified",
        salt=salt,
        watcher=watcher,
    )


def check_submission(
    folder: str | Path, isolation: Literal["auto", "sandbox", "process"] = "auto"
) -> tuple[list[str], bool]:
    """What is wrong with a submission, line by line with the fix, and whether nothing is.

    The manifest and the folder come first; if they are sound, the contract, in a worker.
    """
    from metabench.submission.findings import look_through
    from metabench.submission.remote import contained

    path = Path(folder)
    manifest, problems = look_through(path)
    if manifest is None or problems:
        lines = [f"FAIL  {problem}" for problem in problems]
        return [*lines, f"{path}: {len(problems)} to fix before its code is run"], False
    try:
        # The contract is tried in ways of its own; a second worker each would double the time.
        learner = contained(manifest, path, isolation=isolation, audits=False)
    except MetabenchError as error:
        return [f"FAIL  {error}"], False
    report = check(learner, "cpu")
    sound = f"pass  folder      manifest and files ({learner.isolation} isolation)"
    return [sound, *report.lines()], report.passed


def board(results: Results | str | Path) -> Board:
    """The leaderboard of some results, or of a run folder."""
    from metabench.boards import build_board

    return build_board(results if isinstance(results, Results) else load_records(results))


def report(results: Results | str | Path, path: str | Path) -> Path:
    """Write one self-contained HTML file about some results, or about a run folder."""
    from metabench.reports import write_report

    loaded = results if isinstance(results, Results) else load_records(results)
    write_report(loaded, Path(path))
    return Path(path)
