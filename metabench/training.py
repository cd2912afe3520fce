"""Meta-training under a metered budget, with checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from metabench.errors import BudgetExhausted, DivergedError
from metabench.learners.contract import MetaLearner, MetaTrained, TaskStream
from metabench.records import Usage
from metabench.store import write_atomic

CHECKPOINT_SECONDS = 15.0
LOG_POINTS = 200

Progress = Callable[[int, float], None]
"""Called after a meta-step with (steps done, meta-loss)."""


@dataclass
class TrainingLog:
    """(meta-step, meta-loss), thinned by halving so that it never exceeds ``LOG_POINTS``."""

    points: list[tuple[int, float]] = field(default_factory=list)
    every: int = 1

    def add(self, step: int, loss: float) -> None:
        """Keep the point if its step is due."""
        if step % self.every:
            return
        self.points.append((step, loss))
        if len(self.points) > LOG_POINTS:
            self.every *= 2
            self.points = [p for p in self.points if p[0] % self.every == 0]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands: the learner's tensors and what the harness counts."""

    path: Path

    def snapshot(self, step: int) -> Checkpoint:
        """Beside it, as the learner was after that meta-step."""
        return Checkpoint(self.path.parent / f"step-{step}.safetensors")

    def snapshots(self) -> dict[int, Checkpoint]:
        """Those that were kept, by meta-step."""
        paths = self.path.parent.glob("step-*.safetensors")
        return {step: self.snapshot(step) for step in sorted(int(p.stem[5:]) for p in paths)}

    def save(self, learner: MetaLearner[Any], used: Usage, log: TrainingLog, done: bool) -> None:
        """Write atomically; safetensors, never pickle."""
        tensors = {k: t.detach().cpu().contiguous() for k, t in learner.state_dict().items()}
        header = {
            "used": used.model_dump_json(),
            "log": json.dumps(log.points),
            "every": str(log.every),
            "done": str(int(done)),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, save(tensors, metadata=header))

    def load(self, learner: MetaLearner[Any]) -> tuple[Usage, TrainingLog, bool] | None:
        """Restore the learner; None if there is nothing, or nothing readable, to go on from."""
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            used = Usage.model_validate_json(header["used"])
            points = [(int(step), float(loss)) for step, loss in json.loads(header["log"])]
            log = TrainingLog(points, int(header["every"]))
            done = header["done"] == "1"
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        learner.load_state_dict(tensors)
        return used, log, done


def train(
    learner: MetaLearner[Any],
    stream: TaskStream,
    seed: int,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    snapshots: Collection[int] = (),
) -> TrainingLog:
    """Meta-train until the learner ends or the budget of tasks or steps is spent.

    ``snapshots`` are meta-steps after which the learner is kept beside the checkpoint; 0 is before
    the first.

    Goes on from the checkpoint if there is one. Raises DivergedError on a loss that is not
    finite and TimeLimitError when the time is up. ``stream.used`` tells what was spent.
    """
    log = TrainingLog()
    if not isinstance(learner, MetaTrained):
        return log
    restored = checkpoint.load(learner) if checkpoint else None
    if restored is not None:
        stream.used, log, done = restored
        # What an interrupted part used up counts against the limit.
        stream.deadline -= stream.used.seconds
        if done:
            return log
    began = time.monotonic() - stream.used.seconds
    saved = time.monotonic()

    def used() -> Usage:
        return stream.used.model_copy(update={"seconds": time.monotonic() - began})

    def keep(step: int) -> None:
        if checkpoint and step in snapshots:
            checkpoint.snapshot(step).save(learner, used(), log, done=False)

    if stream.used.steps == 0:
        keep(0)
    steps = learner.meta_fit(stream, seed)
    try:
        while stream.used.steps < stream.budget.steps:
            entry = next(steps, None)
            if entry is None:
                break
            loss = float(entry.loss)
            done_steps = stream.used.steps + 1
            stream.used = stream.used.model_copy(update={"steps": done_steps})
            if not math.isfinite(loss):
                raise DivergedError(f"the meta-loss was {loss} at meta-step {done_steps}")
            log.add(done_steps, loss)
            keep(done_steps)
            if progress:
                progress(done_steps, loss)
            stream.check_time()
            if checkpoint and time.monotonic() - saved > checkpoint_seconds:
                checkpoint.save(learner, used(), log, done=False)
                saved = time.monotonic()
    except BudgetExhausted:
        pass
    finally:
        steps.close() if hasattr(steps, "close") else None
        stream.used = used()
    if checkpoint:
        checkpoint.save(learner, stream.used, log, done=True)
    return log
