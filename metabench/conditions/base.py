"""What an intervention is: a change of the inputs of episodes, with its own randomness."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.registry import Registry
from metabench.rng import Address, BlockDraws, Plan, draw

On = Literal["support", "query", "both"]


class Intervention(ABC):
    """Changes inputs [T, n, *X] by an amount ``value`` whose meaning the docstring gives.

    Randomness comes from arrays drawn per episode and shared by every level, so that two levels
    of one condition differ by the level alone.
    """

    unit: ClassVar[str] = ""

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Random arrays [BLOCK, items, ...] for inputs of shape X; none by default."""
        return {}

    @abstractmethod
    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """The changed inputs, on the CPU."""


INTERVENTIONS: Registry[Intervention] = Registry("intervention", "metabench.interventions")


@dataclass(frozen=True)
class _Arrays:
    """A hashable planner for an intervention's arrays."""

    name: str
    items: int
    shape: tuple[int, ...]

    def __call__(self, draws: BlockDraws) -> Plan:
        return INTERVENTIONS.get(self.name).arrays(draws, self.items, self.shape)


def intervene(
    name: str,
    value: float,
    on: On,
    episodes: Episodes,
    address: Address,
    indices: Sequence[int] | range,
) -> Episodes:
    """The episodes of these indices with the intervention ``name`` applied to support or query.

    The randomness belongs to (address, name, support or query, index), so it depends neither on
    the batch nor on the level.
    """

    def changed(x: Tensor, where: str) -> Tensor:
        planner = _Arrays(name, x.shape[1], tuple(x.shape[2:]))
        # An intervention without randomness plans no arrays, and there is nothing to draw.
        plan = draw(planner, address.child("intervention", name, where), indices)
        arrays = {key: torch.from_numpy(array) for key, array in plan.items()}
        return INTERVENTIONS.get(name).apply(x, value, arrays)

    support, query = episodes.support, episodes.query
    if on in ("support", "both"):
        support = replace(support, x=changed(support.x, "support"))
    if on in ("query", "both"):
        query = replace(query, x=changed(query.x, "query"))
    return replace(episodes, support=support, query=query)
