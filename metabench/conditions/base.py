"""What an intervention is: a change of episodes, with its own randomness."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metabench.episodes import Episodes, Kind
from metabench.registry import Registry
from metabench.rng import Address, BlockDraws, Plan, draw
from metabench.tasks import Shape, TaskDistribution, sample

On = Literal["support", "query", "both"]


@dataclass(frozen=True)
class Setting:
    """What an intervention is asked to do, and the stream that the episodes come from."""

    name: str
    value: float
    on: On
    distribution: TaskDistribution
    shape: Shape
    address: Address
    indices: Sequence[int] | range

    def arrays(self, where: str, items: int, shape: tuple[int, ...] = ()) -> Mapping[str, Tensor]:
        """The intervention's random arrays [T, items, ...] for the part ``where`` of the episodes.

        They belong to (address, name, where, index): neither batch nor level changes them.
        """
        planner = _Arrays(self.name, items, shape)
        plan = draw(planner, self.address.child("intervention", self.name, where), self.indices)
        return {key: torch.from_numpy(array) for key, array in plan.items()}

    def others(self) -> Episodes:
        """As many episodes of the same law, independent of these."""
        address = self.address.child("intervention", self.name)
        return sample(self.distribution, self.shape, address, self.indices)


class Intervention(ABC):
    """Changes episodes by an amount ``value`` whose meaning the docstring gives.

    Randomness comes from arrays drawn per episode and shared by every level, so that two levels
    of one condition differ by the level alone.
    """

    unit: ClassVar[str] = ""
    kinds: ClassVar[tuple[Kind, ...]] = ("classification", "regression")
    fixed_way: ClassVar[bool] = False
    """Whether every episode needs the same number of classes."""
    least_shot: ClassVar[int] = 1
    """In classification."""

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Random arrays [BLOCK, items, ...]; none by default."""
        return {}

    @abstractmethod
    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The changed episodes, on the CPU."""

    def needed(self, shape: Shape, value: float) -> Shape:
        """The largest shape it draws from; raises MetabenchError where it cannot do ``value``."""
        return shape

    known: ClassVar[bool] = False
    """Whether ``followed`` tells what predictions ought to become; agreement is then measured."""

    def followed(self, output: Tensor, setting: Setting) -> Tensor:
        """What the outputs [T, Q, W] on the unchanged episodes ought to be on the changed ones."""
        raise NotImplementedError


INTERVENTIONS: Registry[Intervention] = Registry("intervention", "metabench.interventions")


@dataclass(frozen=True)
class _Arrays:
    """A hashable planner for an intervention's arrays."""

    name: str
    items: int
    shape: tuple[int, ...]

    def __call__(self, draws: BlockDraws) -> Plan:
        # An intervention without randomness plans no arrays, and there is nothing to draw.
        return INTERVENTIONS.get(self.name).arrays(draws, self.items, self.shape)


class InputIntervention(Intervention):
    """Changes the inputs [T, n, *X] of the support, the query or both."""

    @abstractmethod
    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """The changed inputs."""

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """Support and query have randomness of their own."""

        def changed(x: Tensor, where: str) -> Tensor:
            arrays = setting.arrays(where, x.shape[1], tuple(x.shape[2:]))
            return self.apply(x, setting.value, arrays)

        support, query = episodes.support, episodes.query
        if setting.on in ("support", "both"):
            support = replace(support, x=changed(support.x, "support"))
        if setting.on in ("query", "both"):
            query = replace(query, x=changed(query.x, "query"))
        return replace(episodes, support=support, query=query)


def intervene(episodes: Episodes, setting: Setting) -> Episodes:
    """The episodes with the intervention of that setting applied."""
    return INTERVENTIONS.get(setting.name).change(episodes, setting)
