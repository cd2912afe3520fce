"""What the sandbox costs: a suite with a learner in process, and with it in the sandbox.

    python benchmarks/peers/sandbox_overhead.py --learner protonet --suite ood-glyphs
    python benchmarks/peers/sandbox_overhead.py --learner maml --suite ood-functions

A round runs the preset from nothing, both ways at once, baselines included (``--alone``: the
learner's cells only). Each way has one processor, workers included, and they change places every
quarter of a second: processors that others use as well are never equally fast. So the scorer and
its workers take turns where they could work side by side, and the seconds of the wall clock and of
the processors are the sandbox's whole cost, from the start of the first worker on. The learner's
scores are compared to the bit.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from metabench.learners import LEARNERS
from metabench.records import Parameter
from metabench.running.allocator import keep_freed_memory
from metabench.running.cell import Settings
from metabench.running.environment import describe
from metabench.running.local import Watcher, run_here
from metabench.running.plan import LearnerChoice, by_cost, plan
from metabench.store import Store
from metabench.submission.manifest import Manifest
from metabench.submission.process import WorkerProcess, descendants
from metabench.submission.remote import contained
from metabench.suite import load_suite

SOURCE = """
from metabench.learners import LEARNERS

class Learner(LEARNERS.get("{name}")):
    pass
"""


@dataclass(frozen=True)
class Taken:
    """Wall-clock and processor seconds, and the scores."""

    wall: float
    processor: float
    scores: pd.Series[float]


WAYS = ("in process", "sandbox")
TURN_SECONDS = 0.25

WORKERS = {"seconds": 0.0}
"""Of processors, used by workers that were killed: their parent is never told."""


def processor_seconds() -> float:
    """Of this process and of the workers."""
    who = resource.getrusage(resource.RUSAGE_SELF)
    return who.ru_utime + who.ru_stime + WORKERS["seconds"]


def counted(kill: Callable[[WorkerProcess], None]) -> Callable[[WorkerProcess], None]:
    """Look at what a worker has used before it is killed."""

    def counting(worker: WorkerProcess) -> None:
        if not worker.killed:
            for pid in descendants(worker.process.pid):
                with contextlib.suppress(OSError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    WORKERS["seconds"] += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        kill(worker)

    return counting


def take(learner: str, suite: str, preset: str, *, boxed: bool, alone: bool) -> Taken:
    """One way, from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        wall, processor = time.perf_counter(), processor_seconds()
        chosen: LearnerChoice = learner
        overrides: dict[str, dict[str, Parameter]] = {}
        if boxed:
            own = LEARNERS.get(learner)
            code = Path(folder, "submission")
            code.mkdir()
            code.joinpath("learner.py").write_text(SOURCE.format(name=learner))
            manifest = Manifest.model_validate(
                {
                    "name": f"boxed-{learner}",
                    "version": "1",
                    "authors": ["the benchmark"],
                    "family": own.card.family,
                    "kinds": own.card.kinds,
                    "track": "inductive",
                    "entry": "learner:Learner",
                    "training_data": [],
                }
            )
            chosen = contained(manifest, code, isolation="sandbox")
            # What the preset gives the learner by name.
            given = load_suite(suite).get_preset(preset).parameters.get(learner, {})
            overrides = {manifest.name: dict(given)}
        cells = plan([chosen], [suite], preset, None, overrides)
        store = Store(Path(folder, "run"))
        store.open()
        settings = Settings("cpu", describe(torch.device("cpu")), traceback=True)
        wanted = [c for c in by_cost(cells) if not alone or c.key.learner.endswith(learner)]
        table = store.results(run_here(wanted, store, settings, Watcher())).episodes
        del chosen, cells, wanted
        gc.collect()
        spent = time.perf_counter() - wall, processor_seconds() - processor
    keys = ["source", "seed", "condition", "level", "metric", "episode"]
    mine = table[table["learner"].str.endswith(learner)].sort_values(keys)
    return Taken(*spent, mine["value"].reset_index(drop=True))


def one_way(given: argparse.Namespace, out: str) -> None:
    """The body of the process that takes one way."""
    keep_freed_memory()  # as every process that runs cells
    WorkerProcess.kill = counted(WorkerProcess.kill)  # type: ignore[method-assign, assignment]
    boxed = given.way == "sandbox"
    taken = take(given.learner, given.suite, given.preset, boxed=boxed, alone=given.alone)
    Path(out).write_text(json.dumps([taken.wall, taken.processor, taken.scores.tolist()]))


def place(root: int, processor: int) -> None:
    """Confine a process, and all it started, to a processor."""
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), {processor})


def together(processors: list[int]) -> dict[str, Taken]:
    """Both ways at once."""
    with tempfile.TemporaryDirectory() as folder:
        running = {
            way: subprocess.Popen(
                [sys.executable, *sys.argv, "--way", way, "--out", f"{folder}/{way}"]
            )
            for way in WAYS
        }
        # Whoever is done first leaves its processor idle: the other goes on changing places.
        while any(process.poll() is None for process in running.values()):
            processors.reverse()
            for process, processor in zip(running.values(), processors, strict=True):
                place(process.pid, processor)
            time.sleep(TURN_SECONDS)
        found = {}
        for way in WAYS:
            wall, processor, scores = json.loads(Path(folder, way).read_text())
            found[way] = Taken(wall, processor, pd.Series(scores, dtype=float))
        return found


def main() -> None:
    """Print each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learner", default="protonet")
    parser.add_argument("--suite", default="ood-glyphs")
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without the baselines")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        one_way(given, given.out)
        return
    ratios: dict[str, list[float]] = {"wall clock": [], "processors": []}
    for _ in range(given.rounds):
        taken = together(sorted(os.sched_getaffinity(0))[:2])
        inside, outside = taken["sandbox"], taken["in process"]
        equal = inside.scores.equals(outside.scores)
        ratios["wall clock"].append(inside.wall / outside.wall)
        ratios["processors"].append(inside.processor / outside.processor)
        print(
            f"in process {outside.wall:.2f} s ({outside.processor:.2f} s of processors), "
            f"sandbox {inside.wall:.2f} s ({inside.processor:.2f} s), "
            f"{len(inside.scores)} scores {'equal to the bit' if equal else 'DIFFERENT'}",
            flush=True,
        )
    for name, values in ratios.items():
        middle = statistics.median(values)
        print(f"{name}: {middle:.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
