"""The contract of a meta-learner, and the stream of tasks it meta-trains on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from metabench.episodes import Episodes, Kind, Prediction, Query, Support, concatenate, in_parts
from metabench.errors import BudgetExhausted, TimeLimitError
from metabench.records import Budget, Knob, Usage
from metabench.registry import Registry
from metabench.rng import Address
from metabench.tasks.base import Count, Shape, TaskDistribution, bounds, sample
from metabench.tasks.catalogue import Catalogue

AHEAD = 2**14
"""Input values that a stream draws in advance, at most."""

State = TypeVar("State")
Family = Literal["metric", "gradient", "memory", "transfer", "baseline", "control", "other"]
"""``baseline`` learns each task alone; ``transfer`` pre-trains without episodes, then adapts."""


@dataclass(frozen=True)
class LearnerCard:
    """What a learner is. ``version`` is part of a result's identity: raise it with behaviour."""

    name: str
    family: Family
    kinds: tuple[Kind, ...]
    citation: str = ""
    version: str = "1"
    transductive: bool = False
    """Predictions use the other queries of the batch; such a learner is scored in its own track."""
    sequential: bool = False
    """The order of the support set matters."""
    knobs: tuple[Knob, ...] = ()
    """What has to be set by hand, and within which limits; see ``metabench.learners.knobs``."""

    def knobs_of(self, kind: Kind) -> tuple[Knob, ...]:
        """Those that hold for a kind of task."""
        return tuple(knob for knob in self.knobs if kind in knob.kinds)


@dataclass(frozen=True)
class TaskInfo:
    """What is known about the tasks before the first one is seen."""

    kind: Kind
    input_shape: tuple[int, ...]
    output_dim: int
    shape: Shape
    """Way, shot and query of the meta-training episodes."""
    max_way: int
    """The largest number of classes of any episode to come; 0 in regression."""


@dataclass(frozen=True)
class StepLog:
    """What a learner reports after a meta-step: the meta-loss (float or 0-d tensor)."""

    loss: float | Tensor


@dataclass
class TaskStream:
    """Meta-training tasks under a metered budget.

    The stream is a pure function of its address and of the tasks used so far: batch sizes and
    interruptions don't change which tasks come.
    """

    info: TaskInfo
    distribution: TaskDistribution
    address: Address
    budget: Budget
    device: torch.device
    used: Usage = field(default_factory=Usage)
    deadline: float = float("inf")
    """time.monotonic() at which the cell's time is up."""
    _ahead: tuple[Shape, int, list[Episodes]] | None = field(default=None, init=False, repr=False)
    """Small batches drawn in advance: their shape, the index of the first episode, the batches."""

    def next(
        self,
        tasks: int,
        *,
        way: Count | None = None,
        shot: Count | None = None,
        query: int | None = None,
    ) -> Episodes:
        """The next episodes, with their query labels; way, shot and query may be chosen.

        Raises BudgetExhausted rather than hand out more tasks than the budget holds.
        """
        self._allow(tasks)
        chosen = {"way": way, "shot": shot, "query": query}
        shape = self.info.shape
        if any(v is not None for v in chosen.values()):
            changes = {k: v for k, v in chosen.items() if v is not None}
            shape = Shape.model_validate({**shape.model_dump(), **changes})
            self.distribution.check_shape(shape)
        episodes = self._drawn(shape, self.used.tasks, tasks)
        items = episodes.support.mask.numel() + episodes.query.mask.numel()
        self._charge(tasks, items)
        return episodes

    def _drawn(self, shape: Shape, start: int, tasks: int) -> Episodes:
        """Episodes ``start`` and following; drawing many small ones at once costs far less."""
        held = self._ahead
        if held is not None and held[:2] == (shape, start) and held[2][0].tasks == tasks:
            ready = held[2]
        else:
            per_class = bounds(shape.shot)[1] + shape.query
            items = tasks * per_class * max(1, bounds(shape.way)[1])
            batches = max(1, AHEAD // (items * math.prod(self.info.input_shape)))
            indices = range(start, start + batches * tasks)
            drawn = sample(self.distribution, shape, self.address, indices, self.device)
            ready = in_parts(drawn, tasks)
        first, *rest = ready
        self._ahead = (shape, start + tasks, rest) if rest else None
        return first

    @property
    def classes(self) -> int:
        """How many classes ``labelled`` draws from."""
        return self._catalogue.classes

    def labelled(self, count: int) -> tuple[Tensor, Tensor]:
        """The next items of the training classes: x [count, *X], class ids y [count] int64.

        For ordinary supervised training; ids are 0..``classes``-1 and stay the same. Items come in
        epochs, each the whole catalogue (``TaskDistribution.catalogue``) in a new order. They are
        charged as ``cost(count)`` tasks, and the order goes on behind the items of whole tasks:
        what comes depends on the tasks used so far and on nothing else. Raises as ``next`` does,
        and MetabenchError in regression.
        """
        tasks = self.cost(count)
        self._allow(tasks)
        start = self.used.tasks * self._episode_items
        positions = range(start, start + count)
        items = self._catalogue.ordered(self.address.child("labelled"), positions)
        self._charge(tasks, count)
        y = torch.from_numpy(items // self._catalogue.items).to(self.device)
        return self._catalogue.fetch(items, self.device), y

    def cost(self, count: int) -> int:
        """Tasks that so many labelled items count as: episodes that would hold them, rounded up."""
        return -(-count // self._episode_items)

    @property
    def _episode_items(self) -> int:
        shape = self.info.shape
        return max(1, self.typical_way) * (bounds(shape.shot)[1] + shape.query)

    @cached_property
    def _catalogue(self) -> Catalogue:
        return self.distribution.catalogue(self.address.child("catalogue"))

    def check_time(self) -> None:
        """Raise TimeLimitError if the cell's time is up."""
        if time.monotonic() > self.deadline:
            raise TimeLimitError(f"the limit of {self.budget.seconds:g} s was used up")

    def _allow(self, tasks: int) -> None:
        self.check_time()
        if self.used.tasks + tasks > self.budget.tasks:
            raise BudgetExhausted(f"the budget of {self.budget.tasks} tasks is used up")

    def _charge(self, tasks: int, items: int) -> None:
        used = {"tasks": self.used.tasks + tasks, "examples": self.used.examples + items}
        self.used = self.used.model_copy(update=used)

    @property
    def step(self) -> int:
        """Meta-steps done so far, over every part of an interrupted training."""
        return self.used.steps

    def planned_steps(self, tasks_per_step: int) -> int:
        """How many meta-steps of that size the budget holds; schedules are laid out over it."""
        return max(1, min(self.budget.steps, self.budget.tasks // tasks_per_step))

    def generator(self) -> torch.Generator:
        """A generator of this meta-step's own, so that a resumed training draws the same."""
        return self.address.child("learner", self.step).torch_generator()

    @property
    def typical_way(self) -> int:
        """The largest way of a meta-training episode."""
        return bounds(self.info.shape.way)[1]


class MetaLearner(Generic[State]):
    """Subclass this. Only ``card``, ``adapt`` and ``predict`` are required.

    The harness constructs the learner with its hyper-parameters, calls ``setup`` once, then
    either trains it (``meta_fit``) or loads a checkpoint, then adapts and predicts. Randomness
    comes from ``seed``; the global generators are not to be used.
    """

    card: LearnerCard

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Build parameters. Called once, before anything else."""

    def adapt(self, support: Support) -> State:
        """Learn the tasks from their support sets; the learner itself stays as it was."""
        raise NotImplementedError

    def predict(self, state: State, query: Query) -> Prediction:
        """Predict each query on its own: nothing depends on what else is in the batch."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that meta-training changed, the optimiser's state included."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of ``state_dict``; ``meta_fit`` then goes on from there."""


@runtime_checkable
class MetaTrained(Protocol):
    """A learner that meta-trains."""

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Yield after each meta-step; ends, or is stopped, with the budget."""
        ...


@dataclass(frozen=True)
class Streamed:
    """A task met in parts: the learner's state and everything seen so far."""

    state: Any
    seen: Support


def begin(learner: MetaLearner[Any], support: Support) -> Streamed:
    """Start a stream with its first support items."""
    return Streamed(learner.adapt(support), support)


def observe(learner: MetaLearner[Any], stream: Streamed, support: Support) -> Streamed:
    """Add support items to a stream.

    A learner with a method ``observe(state, support) -> state`` updates its state; any other
    re-adapts on the concatenation of all it has seen.
    """
    seen = concatenate(stream.seen, support)
    own = getattr(learner, "observe", None)
    return Streamed(own(stream.state, support) if own else learner.adapt(seen), seen)


def retuned(
    learner: MetaLearner[Any], *, rate: float = 1.0, steps: float = 1.0
) -> MetaLearner[Any] | None:
    """The learner with its inner learning rate and number of inner steps times these factors.

    A learner with an inner loop has a method ``retuned(rate, steps)`` that returns such a copy of
    itself, with the same parameters; 0 steps is no adaptation. None: it has no inner loop.
    """
    own = getattr(learner, "retuned", None)
    return None if own is None else own(rate=rate, steps=steps)


def differentiable(learner: MetaLearner[Any]) -> bool:
    """Whether ``adapt`` and ``predict`` let gradients through to inputs that require them.

    A learner says so with an attribute ``differentiable``.
    """
    return bool(getattr(learner, "differentiable", False))


LEARNERS: Registry[type[MetaLearner[Any]]] = Registry("learner", "metabench.learners")
