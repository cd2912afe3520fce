"""Classification whose classes are centres, drawn anew, with items scattered around them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import Shape, TaskDistribution, bounds

Array = NDArray[np.float32]


class Scattered(TaskDistribution):
    """A distribution says what centres and scatter are, and how an item comes of both."""

    kind: ClassVar[Kind] = "classification"

    @abstractmethod
    def centres(self, draws: BlockDraws, way: int) -> Array:
        """[size, way, dim]."""

    @abstractmethod
    def scatter(self, draws: BlockDraws, part: str, way: int, items: int) -> Array:
        """[size, way, items, dim] of the support or the query; ``part`` names the stream."""

    @abstractmethod
    def items(self, centres: Tensor, scatter: Tensor, part: str) -> Tensor:
        """Inputs [T, way, items, dim] of centres [T, way, 1, dim] and scatter."""

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Centres, scatter and orders."""
        (way_low, way), (shot_low, shot) = bounds(shape.way), bounds(shape.shot)
        size = draws.size
        return {
            "means": self.centres(draws, way),
            "support": self.scatter(draws, "support", way, shot),
            "query": self.scatter(draws, "query", way, shape.query),
            "support_order": draws("support_order").random((size, way * shot)),
            "query_order": draws("query_order").random((size, way * shape.query)),
            "way": draws("way").integers(way_low, way + 1, size),
            "shot": draws("shot").integers(shot_low, shot + 1, size),
        }

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """Items in random order, padding last."""
        arrays = {k: torch.from_numpy(np.asarray(v)) for k, v in plan.items()}
        way = arrays["way"]
        x_s, y_s, mask_s = self._part(arrays, "support", way, arrays["shot"])
        x_q, y_q, mask_q = self._part(arrays, "query", way, torch.full_like(way, shape.query))
        return Episodes(Support(x_s, y_s, mask_s, way), Query(x_q, mask_q), y_q)

    def _part(
        self, arrays: dict[str, Tensor], part: str, way: Tensor, each: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        scatter = arrays[part]
        tasks, classes, items, _ = scatter.shape
        x = self.items(arrays["means"][:, :, None], scatter, part).flatten(1, 2)
        y = torch.arange(classes).repeat_interleave(items).expand(tasks, -1)
        item = torch.arange(items).repeat(classes)
        mask = (y < way[:, None]) & (item < each[:, None])
        order = arrays[f"{part}_order"].masked_fill(~mask, 2.0).argsort(dim=1)
        x = x.gather(1, order[..., None].expand_as(x))
        y, mask = y.gather(1, order), mask.gather(1, order)
        x = torch.where(mask[..., None], x, 0.0).view(tasks, -1, *self.input_shape)
        return x, torch.where(mask, y, 0), mask
