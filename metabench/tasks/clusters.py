"""Gaussian clusters: classification episodes whose law is known exactly."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from metabench.rng import BlockDraws
from metabench.tasks.base import TASKS
from metabench.tasks.scattered import Array, Scattered


@TASKS.register("clusters")
class Clusters(Scattered):
    """x ~ N(m_c, I) with class means m_c ~ N(0, spread^2 I), drawn anew in every episode.

    ``spread`` 0 makes inputs pure noise. Axis: ``spread``.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "Gaussian clusters with random means"
    axes: ClassVar[tuple[str, ...]] = ("spread",)

    shape: tuple[int, ...] = Field(default=(16,), min_length=1, description="of one input")
    spread: float = Field(default=2.0, ge=0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """As given."""
        return self.shape

    def centres(self, draws: BlockDraws, way: int) -> Array:
        """Standard normal; ``items`` spreads them."""
        return self._normal(draws, "means", way)

    def scatter(self, draws: BlockDraws, part: str, way: int, items: int) -> Array:
        """Standard normal."""
        return self._normal(draws, part, way, items)

    def items(self, centres: Tensor, scatter: Tensor, part: str) -> Tensor:
        """Means plus unit noise."""
        return self.spread * centres + scatter

    def _normal(self, draws: BlockDraws, name: str, *of: int) -> Array:
        size = (draws.size, *of, math.prod(self.shape))
        return draws(name).standard_normal(size, dtype="float32")

    def shifted(self, axis: str, value: float) -> Clusters:
        """Another spread."""
        if axis != "spread":
            super().shifted(axis, value)
        return self.model_copy(update={"spread": value})
