"""Immune recognition as a classification task: which pathogen does this antigen come from?"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws
from metabench.tasks.base import TASKS
from metabench.tasks.scattered import Array, Scattered

LEAST = 1e-12
"""Probability in place of none, whose logarithm there is."""


@TASKS.register("antigens")
class Antigens(Scattered):
    """Bit strings: a class is a random prototype, an item has some of its bits flipped.

    The antigens of Forrest, Javornik, Smith and Perelson 1993 (32 bits, one of a few prototypes) as
    classes to be recognised from a few examples, with conserved and variable sites: the bits from
    ``start`` on, ``conserved`` of them, flip with p = ``stray``, all others with p = ``variable``.
    Which sites to trust holds for all pathogens and is what there is to meta-learn. Bits are -1 and
    1. Axes: ``stray`` v; ``escape`` v: queries have each bit flipped once more with p = v, as a
    pathogen that mutates between two infections; ``start`` v: other sites are conserved.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "strings of 32 bits, some conserved, that stray from random prototypes"
    axes: ClassVar[tuple[str, ...]] = ("stray", "escape", "start")

    length: int = Field(default=32, ge=1, description="bits")
    conserved: int = Field(default=12, ge=0, description="bits that stray little")
    start: int = Field(default=0, ge=0, description="the first of them; they go round the end")
    stray: float = Field(default=0.05, ge=0, le=0.5, description="p of a flip at conserved sites")
    variable: float = Field(default=0.4, ge=0, le=0.5, description="p of a flip elsewhere")
    escape: float = Field(default=0.0, ge=0, le=0.5, description="p of another, in queries")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """A string."""
        return (self.length,)

    def centres(self, draws: BlockDraws, way: int) -> Array:
        """Prototypes, each bit -1 or 1."""
        bits = draws("means").integers(0, 2, (draws.size, way, self.length))
        return (2 * bits - 1).astype("float32")

    def scatter(self, draws: BlockDraws, part: str, way: int, items: int) -> Array:
        """Uniform numbers, which fall below p or not."""
        size = (draws.size, way, items, self.length)
        return draws(part).random(size, dtype="float32")

    def items(self, centres: Tensor, scatter: Tensor, part: str) -> Tensor:
        """Prototypes with flipped bits."""
        return torch.where(scatter < self.flips(part).float(), -centres, centres)

    def shifted(self, axis: str, value: float) -> Antigens:
        """More flips, in all items or in queries; or other conserved sites."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: int(value) if axis == "start" else value})

    def flips(self, part: str) -> Tensor:
        """P(flip) [length] at each site; two flips with p and v are one with p + v - 2 p v."""
        site = (torch.arange(self.length) - self.start) % self.length
        p = torch.where(site < self.conserved, self.stray, self.variable).double()
        return p if part == "support" else p + self.escape - 2 * p * self.escape

    def oracle(self, episodes: Episodes) -> Tensor:
        """Log probability [T, Q, C] of each class up to a constant, by Bayes' rule bit by bit."""
        support = episodes.support
        x, query = support.x.cpu().double(), episodes.query.x.cpu().double()
        member = support.y.cpu()[..., None] == torch.arange(support.max_way)
        member &= support.mask.cpu()[..., None]
        # Sum of the bits of a class's items: each moves the log odds of its prototype's bit.
        total = torch.einsum("tsc,tsl->tcl", member.double(), x)
        flip = self.flips("support").clamp_min(LEAST)
        up = torch.sigmoid(total * (torch.log1p(-flip) - flip.log()))
        seen = self.flips("query")
        one = (up * (1 - seen) + (1 - up) * seen).clamp(LEAST, 1 - LEAST)
        scores = torch.einsum("tql,tcl->tqc", (query > 0).double(), one.log())
        scores += torch.einsum("tql,tcl->tqc", (query <= 0).double(), torch.log1p(-one))
        return scores.float()
