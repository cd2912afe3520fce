"""One cell, from planning to its record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
import torch

from metabench.errors import DivergedError, MetabenchError, TimeLimitError, one_line
from metabench.evaluation import evaluate
from metabench.learners.contract import MetaLearner, MetaTrained, TaskStream
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor, OraclePredictor, Predictor
from metabench.records import Environment, Isolation, Provenance, Record, Status, Usage
from metabench.rng import Address, digest
from metabench.running.history import history, snapshot_steps
from metabench.running.plan import Cell
from metabench.salt import commitment, mixed
from metabench.store import Store
from metabench.streams.evaluate import evaluate_streams
from metabench.suite import dump_task
from metabench.tasks.functions import FunctionFamily
from metabench.training import CHECKPOINT_SECONDS, Checkpoint, TrainingLog, train


@dataclass(frozen=True)
class Event:
    """What a cell reports while it runs; ``total`` is the best estimate of the phase's work."""

    cell: str
    phase: Literal["training", "evaluation"]
    done: int
    total: int
    loss: float | None = None
    tasks: int = 0
    """Meta-training tasks drawn so far."""


@dataclass(frozen=True)
class Settings:
    """How cells are run; nothing here changes a number."""

    device: str
    environment: Environment
    data_root: str | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    traceback: bool = False
    provenance: Provenance = "claimed"
    isolation: Isolation = "none"
    """Of learners that don't say so themselves: see ``metabench.submission.remote``."""
    salt: bytes | None = field(default=None, repr=False)
    """The secret of salted cells, which no record, message or file ever holds."""


def addresses(cell: Cell, salt: bytes | None = None) -> tuple[Address, Address]:
    """The streams of meta-training and meta-test tasks.

    The first belongs to the training distribution: every learner trains on the same tasks, in
    whatever suite. The second belongs to the secret as well, if the cell has one: whoever does not
    know it cannot draw its episodes. Raises MetabenchError for another secret than the cell's.
    """
    key, source = cell.key, cell.source
    tasks = digest(json.dumps([dump_task(source.train), source.episode.model_dump()])).hex()
    base = Address.of("metabench", key.fingerprint, key.source)
    test = base.child("meta-test", key.seed)
    if key.salt:
        if salt is None or commitment(salt) != key.salt:
            raise MetabenchError(f"{cell.title}: not the secret that this cell is committed to")
        test = test.child("salt", mixed(salt, *test.parts))
    return Address.of("metabench", "meta-train", tasks, key.seed), test


def run_cell(
    cell: Cell, store: Store, settings: Settings, report: Callable[[Event], None]
) -> Record:
    """Train, evaluate and store; an error of the learner becomes the record's status."""
    preset = cell.suite.get_preset(cell.key.preset)
    device = torch.device(settings.device)
    train_address, test_address = addresses(cell, settings.salt)
    budget = preset.budget
    deadline = time.monotonic() + budget.seconds
    stream = TaskStream(
        cell.source.info, cell.source.train, train_address, budget, device, deadline=deadline
    )
    planned = budget.steps
    log = TrainingLog()
    rows: pd.DataFrame | None = None
    status: Status = "ok"
    message: str | None = None
    evaluation_seconds = 0.0
    parameters: int | None = None

    def on_step(step: int, loss: float) -> None:
        # A budget of tasks may end before the steps do: extrapolate from tasks a step so far.
        by_tasks = step * budget.tasks // max(1, stream.used.tasks)
        tasks = stream.used.tasks
        report(Event(cell.id, "training", step, min(planned, by_tasks), loss, tasks))

    def on_episodes(done: int, total: int) -> None:
        report(Event(cell.id, "evaluation", done, total))

    try:
        predictor: Predictor = OraclePredictor()
        checkpoint = Checkpoint(store.trainings / cell.training / "latest.safetensors")
        if cell.learner is not None:
            learner = new_learner(cell, device)
            log = train(
                learner,
                stream,
                cell.key.seed,
                checkpoint,
                on_step,
                settings.checkpoint_seconds,
                snapshot_steps(budget.steps, preset.checkpoints),
            )
            parameters = learnable(learner)
            predictor = LearnerPredictor(learner, device)
        began = time.monotonic()
        points = cell.source.points
        rows = evaluate(
            predictor,
            points,
            test_address,
            preset.episodes,
            Measures.of(cell.source.metric, cell.source.train, points),
            stream.deadline,
            on_episodes,
            preset.stop,
        )
        drifting = streams(cell, predictor, test_address, stream.deadline)
        rows = pd.concat([rows, *drifting], ignore_index=True)
        rows = rows.assign(checkpoint=stream.used.steps)
        if isinstance(predictor, LearnerPredictor) and preset.checkpoints:
            past = history(cell, predictor, checkpoint, stream, test_address)
            rows = pd.concat([rows, past], ignore_index=True)
        evaluation_seconds = time.monotonic() - began
    except DivergedError as error:
        status, message = "diverged", one_line(error)
    except TimeLimitError as error:
        status, message = "timeout", one_line(error)
    except Exception as error:
        if settings.traceback:
            raise
        status, message = "failed", one_line(error)
    record = new_record(
        cell, settings, status, message, stream.used, log, evaluation_seconds, parameters
    )
    return store.write(record, None if rows is None else identified(rows, cell))


def streams(
    cell: Cell, predictor: Predictor, address: Address, deadline: float
) -> Iterator[pd.DataFrame]:
    """The rows of the source's streams."""
    source, count = cell.source, cell.suite.get_preset(cell.key.preset).streams
    learner, device = None, None
    if isinstance(predictor, LearnerPredictor):
        learner, device = predictor.learner, predictor.device
    for spec in source.stream:
        assert isinstance(source.train, FunctionFamily)
        drawn = address.child("stream", spec.name)
        yield evaluate_streams(learner, source.train, spec, drawn, count, device, deadline)


def new_learner(cell: Cell, device: torch.device) -> MetaLearner[Any]:
    """The cell's learner as it is before meta-training."""
    if cell.learner is None:
        raise ValueError("the oracle is no learner")
    learner: MetaLearner[Any] = cell.learner(**cell.key.parameters)
    if hasattr(learner, "setup"):
        learner.setup(cell.source.info, cell.key.seed, device)
    return learner


def learnable(learner: MetaLearner[Any]) -> int:
    """How many numbers meta-training sets.

    Those of ``parameters`` where a learner keeps them in a mapping, else all floating-point numbers
    of its state; none without meta-training, but for a network that it starts every task from.
    """
    own = getattr(learner, "parameters", None)
    if not isinstance(own, Mapping):
        own = learner.state_dict() if isinstance(learner, MetaTrained) else {}
    return sum(t.numel() for t in own.values() if t.is_floating_point())


def new_record(
    cell: Cell,
    settings: Settings,
    status: Status,
    error: str | None,
    used: Usage | None = None,
    log: TrainingLog | None = None,
    evaluation_seconds: float = 0.0,
    parameters: int | None = None,
) -> Record:
    """A record of this cell, not yet stored."""
    preset = cell.suite.get_preset(cell.key.preset)
    return Record(
        id=cell.id,
        key=cell.key,
        status=status,
        error=error,
        learner=cell.info().model_copy(update={"parameters": parameters}),
        protocol=cell.suite.protocol(cell.source, cell.key.preset),
        budget=preset.budget,
        used=used or Usage(),
        evaluation_seconds=evaluation_seconds,
        training_log=log.points if log else [],
        environment=settings.environment,
        provenance=settings.provenance,
        isolation=getattr(cell.learner, "isolation", settings.isolation),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def identified(rows: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The rows with the columns that say whose they are."""
    key = cell.key
    return rows.assign(
        learner=key.learner,
        suite=key.suite,
        source=key.source,
        seed=key.seed,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums depend on how they are split over threads; a cell always computes on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
