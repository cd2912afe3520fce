"""Two promises: meta-training never waits for data, and evaluation needs no more memory for more.

    python benchmarks/peers/overhead.py LEARNER

evaluates 200 episodes and then 2,000, and prints the process's peak memory in MiB after each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from maml_steps import our_step, subject_batch
from pydantic import BaseModel, ConfigDict
from subjects import ADDRESS, DrawnPool, Tasks, learner
from timing import M_MMAP_THRESHOLD, Settings, seconds, set_allocator

from metabench.evaluation import evaluate
from metabench.learners.contract import LEARNERS
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor
from metabench.suite import Point
from metabench.tasks import Shape, TaskDistribution
from metabench.tasks.harmonics import Harmonics
from metabench.tasks.sinusoid import Sinusoid

COUNTS = (200, 2000)
SHARE, GROWTH = 0.05, 20.0
"""What is promised: of a meta-step at most, and MiB from 200 to 2,000 episodes at most."""


class Share(BaseModel):
    """How long a meta-step waits for its episodes."""

    model_config = ConfigDict(extra="forbid")

    work: str
    step: float
    """Seconds of a whole meta-step."""
    share: float
    """Of it spent in TaskStream.next."""


class Memory(BaseModel):
    """Peak resident memory of an evaluation, MiB, by number of episodes."""

    model_config = ConfigDict(extra="forbid")

    learner: str
    task: str
    peak: dict[int, float]

    @property
    def growth(self) -> float:
        """MiB more for the largest number than for the smallest."""
        return self.peak[max(self.peak)] - self.peak[min(self.peak)]


def sampling_shares(settings: Settings) -> Iterator[Share]:
    """Of W1, W2 and W3's meta-steps."""
    pool, sinusoid = DrawnPool(), Sinusoid()
    none: dict[str, Any] = {"train_way": None, "train_query": None}
    cases: list[tuple[str, TaskDistribution, Shape, str, dict[str, Any]]] = [
        ("W1 MAML, sinusoid, 25 tasks", sinusoid, Shape(shot=10, query=10), "maml", {}),
        (
            "W2 MAML, Conv-4-64, 4 tasks",
            pool,
            Shape(way=5, shot=1, query=15),
            "maml",
            {"strided": False, "inner_steps": 5, "meta_batch": 4},
        ),
        ("W3 ProtoNet, 5-way 1-shot", pool, Shape(way=5, shot=1, query=15), "protonet", none),
        ("W3 ProtoNet, 20-way 5-shot", pool, Shape(way=20, shot=5, query=15), "protonet", none),
    ]
    for work, distribution, shape, name, options in cases:
        tasks = Tasks(distribution, shape, settings.device)
        subject: Any = learner(name, tasks, **options)
        batch = subject_batch(subject)
        stream = tasks.stream()
        # Episodes are drawn in blocks of 64: enough calls for the cost of a block to be shared.
        calls = max(16, 256 // batch)
        stream.next(batch)
        drawing = seconds(partial(stream.next, batch), settings.device, calls)
        step = our_step(subject, tasks, tasks.batches(batch))
        step()
        training = statistics.median(seconds(step, settings.device) for _ in range(5))
        yield Share(work=work, step=training + drawing, share=drawing / (training + drawing))


def memory(names: tuple[str, ...] = ("protonet", "maml", "mann")) -> Iterator[Memory]:
    """Of each learner, on one task of its kind."""
    for name in names:
        # A process of its own; both numbers in the same one, for processes differ by tens of MiB.
        printed = subprocess.run(
            [sys.executable, __file__, name], capture_output=True, text=True, check=True
        ).stdout
        peak = dict(zip(COUNTS, map(float, printed.split()), strict=True))
        yield Memory(learner=name, task=type(_task(name)[0]).__name__.lower(), peak=peak)


def _task(name: str) -> tuple[TaskDistribution, Shape]:
    # Large items, so that a learner that keeps its support sets is found out: 30 MiB more.
    if "classification" in LEARNERS.get(name).card.kinds:
        return DrawnPool(), Shape(way=5, shot=1, query=5)
    return Harmonics(), Shape(shot=1000, query=1000)


def peak_memory(name: str) -> Iterator[float]:
    """MiB that this process has used at most after evaluating each of ``COUNTS`` (Linux)."""
    torch.set_num_threads(1)
    # Every large tensor has pages of its own, so that the peak does not depend on holes.
    set_allocator(M_MMAP_THRESHOLD, 2**14)
    distribution, shape = _task(name)
    tasks = Tasks(distribution, shape, torch.device("cpu"))
    kind: Any = LEARNERS.get(name)
    # A narrow network: what is asked here is what is kept, not what is computed.
    subject = kind(**({"filters": 8} if "filters" in {f.name for f in fields(kind)} else {}))
    subject.setup(tasks.info, 0, tasks.device)
    metric = "accuracy" if distribution.kind == "classification" else "mse"
    point = Point("in distribution", 0, distribution, shape)
    for episodes in COUNTS:
        evaluate(
            LearnerPredictor(subject, tasks.device), (point,), ADDRESS, episodes, Measures(metric)
        )
        # Not getrusage, whose peak a process inherits from the one that started it.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        yield int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    print(*peak_memory(sys.argv[1]))
