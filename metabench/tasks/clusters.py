"""Gaussian clusters: classification episodes whose law is known exactly."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Shape, TaskDistribution, bounds


@TASKS.register("clusters")
class Clusters(TaskDistribution):
    """x ~ N(m_c, I) with class means m_c ~ N(0, spread^2 I), drawn anew in every episode.

    ``spread`` 0 makes inputs pure noise. Axis: ``spread``.
    """

    kind: ClassVar[Kind] = "classification"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "Gaussian clusters with random means"
    axes: ClassVar[tuple[str, ...]] = ("spread",)

    shape: tuple[int, ...] = Field(default=(16,), min_length=1, description="of one input")
    spread: float = Field(default=2.0, ge=0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """As given."""
        return self.shape

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Class means, items and orders."""
        (way_low, way), (shot_low, shot) = bounds(shape.way), bounds(shape.shot)
        size, dim = draws.size, math.prod(self.shape)

        def normal(name: str, *of: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return draws(name).standard_normal((size, *of), dtype=np.float32)

        return {
            "means": normal("means", way, dim),
            "support": normal("support", way, shot, dim),
            "query": normal("query", way, shape.query, dim),
            "support_order": draws("support_order").random((size, way * shot)),
            "query_order": draws("query_order").random((size, way * shape.query)),
            "way": draws("way").integers(way_low, way + 1, size),
            "shot": draws("shot").integers(shot_low, shot + 1, size),
        }

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """Means plus unit noise, shuffled, padding last."""
        arrays = {k: torch.from_numpy(np.asarray(v)) for k, v in plan.items()}
        way = arrays["way"]
        x_s, y_s, mask_s = self._part(arrays, "support", way, arrays["shot"])
        x_q, y_q, mask_q = self._part(arrays, "query", way, torch.full_like(way, shape.query))
        return Episodes(Support(x_s, y_s, mask_s, way), Query(x_q, mask_q), y_q)

    def _part(
        self, arrays: dict[str, torch.Tensor], part: str, way: torch.Tensor, each: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        noise = arrays[part]
        tasks, classes, items, _ = noise.shape
        x = (self.spread * arrays["means"][:, :, None] + noise).flatten(1, 2)
        y = torch.arange(classes).repeat_interleave(items).expand(tasks, -1)
        item = torch.arange(items).repeat(classes)
        mask = (y < way[:, None]) & (item < each[:, None])
        order = arrays[f"{part}_order"].masked_fill(~mask, 2.0).argsort(dim=1)
        x = x.gather(1, order[..., None].expand_as(x))
        y, mask = y.gather(1, order), mask.gather(1, order)
        x = torch.where(mask[..., None], x, 0.0).view(tasks, -1, *self.shape)
        return x, torch.where(mask, y, 0), mask

    def shifted(self, axis: str, value: float) -> Clusters:
        """Another spread."""
        if axis != "spread":
            super().shifted(axis, value)
        return self.model_copy(update={"spread": value})
