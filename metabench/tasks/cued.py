"""Glyphs with a planted cue: a mark on the border that names the class's label."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Shape, bounds
from metabench.tasks.glyphs import Glyphs

SIDE = 3
"""Pixels of the mark's side, and of the border that is cleared for it."""
APART = 4
"""Pixels between the marks of neighbouring labels."""


def marked(x: Tensor, label: Tensor) -> Tensor:
    """Images [T, n, C, H, W] with a bright square on a cleared border that names label [T, n].

    Label c sits 4 c pixels clockwise from the upper left corner, whatever the number of classes;
    from the second round on a pixel further. To mark again replaces the mark.
    """
    height, width = x.shape[-2:]
    top, left = _corners(height, width)
    at = _offset(label, len(top))
    rows, columns = torch.arange(height), torch.arange(width)
    inside = (rows >= SIDE) & (rows < height - SIDE)
    kept = inside[:, None] & (columns >= SIDE) & (columns < width - SIDE)
    in_rows = (rows >= top[at][..., None]) & (rows < top[at][..., None] + SIDE)
    in_columns = (columns >= left[at][..., None]) & (columns < left[at][..., None] + SIDE)
    square = in_rows[..., :, None] & in_columns[..., None, :]
    return (x * kept).masked_fill(square[:, :, None], 1.0)


def _corners(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Upper left corners of all squares along the border, clockwise."""
    down, right = height - SIDE, width - SIDE
    across, along = torch.arange(right), torch.arange(down)
    top = torch.cat([across * 0, along, across * 0 + down, down - along])
    left = torch.cat([across, along * 0 + right, right - across, along * 0])
    return top, left


def _offset(label: Tensor, length: int) -> Tensor:
    each = length // APART
    return (APART * (label % each) + label // each) % length


@TASKS.register("cued-glyphs")
class CuedGlyphs(Glyphs):
    """Glyphs with a mark on the border: of the class's label, or of a random one.

    The same mark means the same label in every episode, so that a learner can answer without the
    support set, and without the glyph. Axis: ``strength`` v, the share of marks that are right.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "glyphs with a mark that gives the label away"
    axes: ClassVar[tuple[str, ...]] = ("strength",)

    strength: float = Field(default=1.0, ge=0, le=1, description="share of marks that are right")

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """As for glyphs, with a uniform key and a uniform other label for each item."""
        most = bounds(shape.way)[1]
        arrays = dict(super().plan(draws, shape))
        for part, per_class in (("support", bounds(shape.shot)[1]), ("query", shape.query)):
            for name in ("key", "other"):
                drawn = draws(f"{part} cue {name}").random((most * per_class, draws.size))
                arrays[f"{part}_cue_{name}"] = drawn.T
        return arrays

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The glyphs, marked; padded items stay zero."""
        e = super().realise(plan, shape, torch.device("cpu"))
        s, q = e.support, e.query
        support = replace(s, x=self._cued(plan, "support", s.x, s.y, s.mask, s.way))
        query = replace(q, x=self._cued(plan, "query", q.x, e.query_y, q.mask, s.way))
        return Episodes(support, query, e.query_y)

    def _cued(
        self, plan: Plan, part: str, x: Tensor, y: Tensor, mask: Tensor, way: Tensor
    ) -> Tensor:
        key, other = (
            torch.from_numpy(np.asarray(plan[f"{part}_cue_{which}"], dtype=np.float64))
            for which in ("key", "other")
        )
        label = torch.where(key < self.strength, y, (other * way[:, None]).long())
        return marked(x, label) * mask[..., None, None, None]

    def shifted(self, axis: str, value: float) -> CuedGlyphs:
        """Another share."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: value})
