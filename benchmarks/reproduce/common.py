"""What the reproduction scripts share: published figures, jobs, resumable seeds, results.

A script declares a ``Table`` of published figures and the ``Job``s (meta-trainings) that measure
them, and hands a function that scores a trained learner to ``reproduce``. Every seed of every job
runs in a worker process on one thread and resumes from its checkpoint; what it measured is merged
into ``results/<script>.json``, where a row is learner x setting x track x iterations.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from metabench.evaluation import evaluate
from metabench.learners.build import find_learner, resolve_parameters
from metabench.learners.contract import MetaLearner, TaskInfo, TaskStream
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor
from metabench.records import Budget, Parameter
from metabench.rng import Address, digest
from metabench.running.environment import describe
from metabench.running.plan import select_device
from metabench.statistics import format_interval, t_interval
from metabench.store import write_atomic
from metabench.suite import Point
from metabench.tasks import Shape, TaskDistribution
from metabench.training import Checkpoint, train

RESULTS = Path(__file__).parent / "results"
SEEDS = 3
"""Meta-seeds of the command that would measure a figure."""
SECONDS_BETWEEN_LINES = 15.0

Track = Literal["inductive", "transductive"]


@dataclass(frozen=True)
class Figure:
    """A published figure, or a place in the table for which nothing was published.

    ``job`` names the meta-training that measures it, and is empty where nothing here does;
    ``value`` and ``spread`` are as printed; ``source`` says where, and how it was read: [R] in
    the source itself, [3P] in a third party's file that quotes the paper, [M] recalled and to be
    verified.
    """

    learner: str
    setting: str
    job: str = ""
    value: float | None = None
    spread: float | None = None
    source: str = ""
    track: Track = "inductive"
    gate: tuple[Literal["at least", "at most"], float] | None = None
    """What a run of the full length over three seeds or more is expected to reach."""

    @property
    def published(self) -> str:
        """As printed, or a dash."""
        if self.value is None:
            return "—"
        return str(self.value) + ("" if self.spread is None else f" ± {self.spread}")

    def passes(self, mean: float) -> bool | None:
        """Whether a measured mean meets the gate; None without one."""
        if self.gate is None:
            return None
        side, bound = self.gate
        return mean >= bound if side == "at least" else mean <= bound


@dataclass(frozen=True)
class Job:
    """One meta-training: a registered learner, its hyper-parameters, its tasks, its length."""

    name: str
    learner: str
    source: TaskDistribution
    shape: Shape
    iterations: int
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    max_way: int = 0
    table: str = ""
    """The script's name; part of the address of every episode."""

    def fresh(self, seed: int, device: torch.device) -> MetaLearner[Any]:
        """The learner before meta-training."""
        found = find_learner(self.learner)
        learner = found(**resolve_parameters(found, self.parameters))
        learner.setup(self.info, seed, device)
        return learner

    @property
    def info(self) -> TaskInfo:
        """What the learner is told before training."""
        source = self.source
        return TaskInfo(
            source.kind, source.input_shape, source.output_dim, self.shape, self.max_way
        )

    def address(self, *parts: object) -> Address:
        """Episodes of this job under that name."""
        return Address.of("benchmark", self.table.replace("_", "-"), self.name).child(*parts)

    @property
    def identity(self) -> str:
        """A hash of what makes two meta-trainings the same.

        Hyper-parameters that are left at their defaults are covered by the card's version.
        """
        version = find_learner(self.learner).card.version
        task = (type(self.source).__name__, self.source.version, self.source.model_dump_json())
        what = (self.learner, version, sorted(self.parameters.items()), *task)
        return digest(*what, self.shape.model_dump_json(), self.max_way, self.iterations).hex()[:12]

    def checkpoint(self, seed: int, folder: Path) -> Checkpoint:
        """Where a seed's training stands."""
        return Checkpoint(folder / f"{self.learner}-{self.identity}-{seed}.safetensors")


class Score(BaseModel):
    """What one seed measured of one figure."""

    value: float
    diverged: int | None = Field(default=None, description="test tasks left out of the value")


Scores = Mapping[tuple[str, str], Score]
"""(learner, setting) of a figure -> what was measured."""
Scorer = Callable[[Job, MetaLearner[Any], int, torch.device], Scores]


@dataclass(frozen=True)
class Table:
    """A table of published figures in one unit, and how a learner is scored for it."""

    name: str
    title: str
    unit: str
    notes: str
    figures: tuple[Figure, ...]
    jobs: tuple[Job, ...]
    score: Scorer
    digits: int = 1
    test: str = ""
    """Test episodes, in words."""

    def __post_init__(self) -> None:
        # A job of another script keeps its episodes and checkpoints.
        object.__setattr__(
            self, "jobs", tuple(j if j.table else replace(j, table=self.name) for j in self.jobs)
        )

    @property
    def path(self) -> Path:
        """The results."""
        return RESULTS / f"{self.name}.json"

    def job(self, name: str) -> Job:
        """The meta-training of that name."""
        (found,) = [job for job in self.jobs if job.name == name]
        return found

    def command(self, job: Job, seeds: int, iterations: int, device: str = "cpu") -> str:
        """What measures the figures of a job."""
        words = ["python", f"benchmarks/reproduce/{self.name}.py", "--only", job.name]
        words += ["--seeds", str(seeds)]
        if iterations != self.job(job.name).iterations:
            words += ["--iterations", str(iterations)]
        return " ".join([*words, *(["--device", device] if device != "cpu" else [])])


class Measured(BaseModel):
    """One row of the results; entry i of a list is meta-seed i's."""

    model_config = ConfigDict(extra="forbid")

    learner: str
    setting: str
    track: Track
    iterations: int
    identity: str = Field(description="of the job")
    seeds: list[float]
    seconds: list[float] = Field(default=[], description="of meta-training; empty: not kept")
    diverged_tasks: list[int] = []
    command: str
    date: str
    device: str
    torch: str
    commit: str | None = Field(default=None, description="a + after it: with changes")

    @property
    def key(self) -> tuple[str, str, Track, int]:
        """What makes two measurements the same row."""
        return self.learner, self.setting, self.track, self.iterations


class Results(BaseModel):
    """A results file."""

    model_config = ConfigDict(extra="forbid")
    rows: list[Measured] = []

    @classmethod
    def load(cls, path: Path) -> Results:
        """What was measured so far; nothing if there is no file."""
        return cls.model_validate_json(path.read_bytes()) if path.exists() else cls()

    def merge(self, new: Measured) -> None:
        """Put the row in; seeds it lacks stay as measured before, if by the same meta-training."""
        old = next((row for row in self.rows if row.key == new.key), None)
        if old is None:
            self.rows.append(new)
            return
        if old.identity != new.identity:
            self.rows[self.rows.index(old)] = new
            return
        more: dict[str, Any] = {
            name: [*getattr(new, name), *getattr(old, name)[len(new.seeds) :]]
            for name in ("seeds", "seconds", "diverged_tasks")
        }
        if len(more["seeds"]) > len(new.seeds):
            more["command"] = old.command
        self.rows[self.rows.index(old)] = new.model_copy(update=more)

    def save(self, path: Path) -> None:
        """Write the file, complete or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (self.model_dump_json(indent=1, exclude_defaults=True) + "\n").encode())


def accuracy(
    learner: MetaLearner[Any],
    distribution: TaskDistribution,
    shape: Shape,
    address: Address,
    episodes: int,
    device: torch.device,
) -> float:
    """Mean accuracy in percent, predictions audited to be inductive unless the card says not."""
    point = Point("test", 0, distribution, shape)
    rows = evaluate(
        LearnerPredictor(learner, device), (point,), address, episodes, Measures("accuracy")
    )
    return 100 * float(rows["value"].mean())


def trained(
    job: Job, seed: int, device: torch.device, folder: Path
) -> tuple[MetaLearner[Any], float]:
    """The learner after its meta-training, resumed where it stood, and the seconds spent."""
    learner = job.fresh(seed, device)
    # Steps are the budget; a learner draws as many tasks a step as its paper does.
    budget = Budget(tasks=10**4 * job.iterations, steps=job.iterations, seconds=1e9)
    stream = TaskStream(job.info, job.source, job.address("meta-train", seed), budget, device)
    train(learner, stream, seed, job.checkpoint(seed, folder), _Lines(job, seed))
    return learner, stream.used.seconds


class _Lines:
    """Progress, one line every few seconds; the time left is from this process's own rate."""

    def __init__(self, job: Job, seed: int) -> None:
        self.job, self.seed = job, seed
        self.first: tuple[int, float] | None = None
        self.printed = time.monotonic()

    def __call__(self, step: int, loss: float) -> None:
        now = time.monotonic()
        self.first = self.first or (step, now)
        if now - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed = now
        rate = (now - self.first[1]) / max(1, step - self.first[0])
        left = rate * (self.job.iterations - step)
        print(
            f"{self.job.name} seed {self.seed}: {step:,} of {self.job.iterations:,}, "
            f"loss {loss:.3f}, {rate:.2f} s a step, about {left / 60:.0f} min left",
            flush=True,
        )


def _measure(
    score: Scorer, job: Job, seed: int, device_name: str, folder: Path
) -> tuple[dict[tuple[str, str], Score], float]:
    torch.set_num_threads(1)
    device = torch.device(device_name)
    learner, seconds = trained(job, seed, device, folder)
    return dict(score(job, learner, seed, device)), seconds


def options_of(table: Table, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments every script takes."""
    parser = argparse.ArgumentParser(
        description=table.title, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names = [job.name for job in table.jobs]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="meta-trainings")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--workers", type=int, default=1, help="seeds at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, help="fewer than published: a CPU-size row")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/reproduce"), help="of the checkpoints"
    )
    parser.add_argument("--results", type=Path, default=table.path, help="the file to merge into")
    return parser.parse_args(arguments)


def reproduce(table: Table, arguments: Sequence[str] | None = None) -> None:
    """Measure, print and merge into the results, seed by seed."""
    options = options_of(table, arguments)
    device = select_device(options.device)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    jobs = [table.job(name) for name in options.only]
    if options.iterations is not None:
        jobs = [replace(job, iterations=options.iterations) for job in jobs]
    began = time.monotonic()
    failures = 0
    # Not fork: a forked child cannot use CUDA.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        futures = {
            (job.name, seed): pool.submit(
                _measure, table.score, job, seed, str(device), options.folder
            )
            for job in jobs
            for seed in range(options.seeds)
        }
        for job in jobs:
            outcomes: list[tuple[Scores, float]] = []
            for seed in range(options.seeds):
                try:
                    outcomes.append(futures[job.name, seed].result())
                except Exception as error:
                    failures += 1
                    print(f"{job.name} seed {seed} failed: {error}", file=sys.stderr, flush=True)
                    break
                _keep(table, job, outcomes, device, options)
                spent = time.monotonic() - began
                print(f"{job.name} seed {seed} done, {spent:,.0f} s since the start", flush=True)
    show(table, Results.load(options.results), [job.name for job in jobs])
    if failures:
        sys.exit(1)


def _keep(
    table: Table,
    job: Job,
    outcomes: Sequence[tuple[Scores, float]],
    device: torch.device,
    options: argparse.Namespace,
) -> None:
    environment = describe(device)
    commit = environment.commit and environment.commit[:12] + "+" * bool(environment.dirty)
    results = Results.load(options.results)
    for figure in table.figures:
        if figure.job != job.name:
            continue
        scores = [scores[figure.learner, figure.setting] for scores, _ in outcomes]
        results.merge(
            Measured(
                learner=figure.learner,
                setting=figure.setting,
                track=figure.track,
                iterations=job.iterations,
                identity=job.identity,
                seeds=[score.value for score in scores],
                seconds=[round(seconds, 1) for _, seconds in outcomes],
                diverged_tasks=[s.diverged for s in scores if s.diverged is not None],
                command=table.command(job, len(outcomes), job.iterations, options.device),
                date=datetime.now(UTC).date().isoformat(),
                device=environment.device,
                torch=environment.torch,
                commit=commit,
            )
        )
    results.save(options.results)


def show(table: Table, results: Results, jobs: Sequence[str]) -> None:
    """Print what is known of these jobs' figures."""
    print(f"\n{table.title} ({table.unit})")
    for figure in table.figures:
        if figure.job not in jobs:
            continue
        full = table.job(figure.job).iterations
        name = f"{figure.learner:<20} {figure.setting:<18} {figure.track:<12}"
        for row in rows_of(figure, results):
            text = format_interval(t_interval(row.seeds), table.digits)
            diverged = f", diverged tasks {row.diverged_tasks}" if row.diverged_tasks else ""
            print(
                f"{name} published {figure.published:<12} ours {text}, "
                f"{row.iterations:,} of {full:,} iterations, {minutes(row)}{diverged}, "
                f"{row.device}\n    {row.command}"
            )


def rows_of(figure: Figure, results: Results) -> list[Measured]:
    """What was measured of a figure, the longest training first."""
    name = (figure.learner, figure.setting, figure.track)
    return sorted((r for r in results.rows if r.key[:3] == name), key=lambda r: -r.iterations)


def minutes(row: Measured) -> str:
    """Mean meta-training time a seed."""
    if not row.seconds:
        return "time not kept"
    return f"{sum(row.seconds) / len(row.seconds) / 60:.1f} min a seed"
