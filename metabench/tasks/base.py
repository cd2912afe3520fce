"""What a task distribution is: a frozen set of parameters from which episodes are drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from metabench.episodes import Episodes, Kind, to_device
from metabench.errors import MetabenchError, unknown
from metabench.registry import Registry
from metabench.rng import Address, BlockDraws, Plan, draw
from metabench.tasks.catalogue import Catalogue

Range = tuple[float, float]
Count = int | tuple[int, int]

CATALOGUE_CLASSES, CATALOGUE_ITEMS = 64, 20
"""Size of the catalogue of a distribution whose classes never run out."""


class Shape(BaseModel):
    """How large an episode is. Way and shot are a number, or a range drawn per episode."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shot: Count = Field(description="support items per class; in regression, per task")
    query: int = Field(gt=0, description="query items per class; in regression, per task")
    way: Count = Field(default=0, description="classes per episode; 0 in regression")

    @model_validator(mode="after")
    def _counts(self) -> Self:
        for name, least in (("shot", 1), ("way", 0)):
            low, high = bounds(getattr(self, name))
            if not least <= low <= high:
                raise ValueError(
                    f"{name} must be at least {least} and ordered, found {low}..{high}"
                )
        return self


def bounds(count: Count) -> tuple[int, int]:
    """A count as (least, most)."""
    return (count, count) if isinstance(count, int) else count


class TaskDistribution(BaseModel):
    """A distribution over tasks; its fields are its parameters, so two equal ones are the same.

    ``version`` names the generator: change it whenever the same parameters give other episodes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[Kind]
    version: ClassVar[int]
    summary: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ()
    """Names that ``shifted`` takes."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """X, the shape of one input."""

    @property
    def output_dim(self) -> int:
        """D, in regression; 0 in classification."""
        return 0

    @property
    def largest_way(self) -> int:
        """Classes there are to draw an episode from; a large number where they never run out."""
        return 1_000_000

    @abstractmethod
    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Everything random about the episodes of one block, as arrays [BLOCK, ...]."""

    @abstractmethod
    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The episodes a plan describes; no randomness, the same values on every device."""

    def check_shape(self, shape: Shape) -> None:
        """Raise MetabenchError when no episode of this shape can be drawn."""

    def at_seed(self, seed: int) -> Self:
        """The distribution of that meta-seed; the same for all but finite sets of tasks."""
        return self

    def prepare(self) -> dict[str, str]:
        """Load the data, if any; returns data set -> content hash. Raises if it is not there."""
        return {}

    def shifted(self, axis: str, value: float) -> TaskDistribution:
        """The distribution with one axis moved to ``value``."""
        raise MetabenchError(unknown("axis", axis, self.axes))

    def catalogue(self, address: Address) -> Catalogue:
        """Labelled items of the classes of this distribution, for ordinary supervised training.

        A distribution of finitely many classes overrides this and gives all of them. Here, where
        every episode has classes of its own: those of 32 two-way episodes of the stream
        ``address``, 20 items each. Raises MetabenchError in regression.
        """
        if self.kind == "regression":
            raise MetabenchError(f"{type(self).__name__}: a regression task has no classes")
        shape = Shape(way=2, shot=CATALOGUE_ITEMS, query=1)
        support = sample(self, shape, address, range(CATALOGUE_CLASSES // 2)).support
        order = support.y.argsort(dim=1, stable=True)
        x = support.x[torch.arange(len(order))[:, None], order].flatten(0, 1)
        return Catalogue(
            CATALOGUE_CLASSES,
            CATALOGUE_ITEMS,
            lambda items, device: x[torch.from_numpy(items)].to(device),
        )

    @property
    def from_catalogue(self) -> bool:
        """Whether each input is an item of the catalogue as it is; ``indexed`` says which."""
        return False

    def indexed(self, plan: Plan) -> Episodes:
        """As ``realise`` on the CPU, with x int64 [T, n, 1] indices of catalogue items."""
        raise NotImplementedError

    def oracle(self, episodes: Episodes) -> Tensor | None:
        """The Bayes predictor's output [T, Q, D] for this very distribution, where it is known."""
        return None

    def prior_mean(self, episodes: Episodes) -> Tensor | None:
        """The best output [T, Q, D] for these queries without any support, where it is known."""
        return None


class Planner:
    """A distribution and a shape, hashable, so that a block drawn twice is drawn once."""

    def __init__(self, distribution: TaskDistribution, shape: Shape) -> None:
        self.distribution, self.shape = distribution, shape

    def __call__(self, draws: BlockDraws) -> Plan:
        """Plan one block."""
        return self.distribution.plan(draws, self.shape)

    def __hash__(self) -> int:
        return hash((type(self.distribution), self.distribution, self.shape))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Planner)
            and type(self.distribution) is type(other.distribution)
            and (self.distribution, self.shape) == (other.distribution, other.shape)
        )


def sample(
    distribution: TaskDistribution,
    shape: Shape,
    address: Address,
    indices: Sequence[int] | range,
    device: torch.device | None = None,
) -> Episodes:
    """The episodes of these indices of the stream ``address``, in this order."""
    device = device or torch.device("cpu")
    plan = draw(Planner(distribution, shape), address, indices)
    return to_device(distribution.realise(plan, shape, device), device)


def sample_indexed(
    distribution: TaskDistribution, shape: Shape, address: Address, indices: Sequence[int] | range
) -> Episodes:
    """As ``sample``, of ``TaskDistribution.indexed``."""
    return distribution.indexed(draw(Planner(distribution, shape), address, indices))


TASKS: Registry[type[TaskDistribution]] = Registry("task", "metabench.tasks")
