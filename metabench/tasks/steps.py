"""Piecewise constant functions, and the exact Bayes predictor by a recursion over changepoints."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range
from metabench.tasks.finite import LEAST_NOISE
from metabench.tasks.functions import Array, FunctionFamily

MOST_JUMPS = 64
"""A task has no more; at 20 jumps on average, one in 10^14 would."""
NEVER = float("-inf")


@TASKS.register("step")
class Steps(FunctionFamily):
    """Constant between the jumps of a Poisson process, levels independent from N(0, scale^2).

    Axes: ``jumps`` v: so many on average; ``noise`` v: standard deviation of the support targets.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "piecewise constant functions with random jumps"
    axes: ClassVar[tuple[str, ...]] = ("jumps", "noise")

    scale: float = Field(default=2.06, gt=0, description="root mean square of y; as of sinusoids")
    jumps: float = Field(default=3.0, gt=0, le=20, description="on the interval, on average")
    inputs: Range = (-5.0, 5.0)

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Where jumps are at a rate of one [BLOCK, 64]; standardised levels [BLOCK, 65]."""
        gaps = draws("gaps").standard_exponential((draws.size, MOST_JUMPS))
        return {
            "jump": gaps.cumsum(axis=1),
            "level": draws("level").standard_normal((draws.size, MOST_JUMPS + 1)),
        }

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """The level of the piece that x lies in."""
        jump, level = (np.asarray(tasks[name], np.float64) for name in ("jump", "level"))
        at = self._unit(x) * self.jumps
        piece = np.zeros(x.shape, dtype=np.int64)
        for j in range(MOST_JUMPS):
            if not (jump[:, j, None] <= at).any():
                break
            piece += jump[:, j, None] <= at
        return self.scale * np.take_along_axis(level, piece, axis=1)

    def shifted(self, axis: str, value: float) -> Steps:
        """One axis moved."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: value})

    def bayes(self, episodes: Episodes) -> Tensor:
        """The posterior mean, exact, by sums over all segmentations of the support.

        The recursions are Fearnhead's (2006, Statistics and Computing 16, section 2): gaps
        between neighbours have a jump or not, independently, and levels integrate out.
        """
        s = episodes.support
        x, y, mask, query = (
            t.cpu().double() for t in (s.x[..., 0], s.y[..., 0], s.mask, episodes.query.x[..., 0])
        )
        # Padding goes to the end, at no distance from the last item and without weight.
        last = x.masked_fill(mask == 0, NEVER).amax(dim=1, keepdim=True).clamp_min(self.inputs[0])
        x, order = torch.where(mask == 1, x, last).sort(dim=1, stable=True)
        y, mask = y.gather(1, order), mask.gather(1, order)
        rate = self.jumps / (self.inputs[1] - self.inputs[0])
        log_segment, mean = self._segments(y, mask)
        share = self._posterior(rate * x.diff(dim=1), log_segment)
        return _at_queries(rate * x, rate * query, share, share * mean)[..., None].float()

    def _unit(self, x: Array) -> Array:
        low, high = self.inputs
        return (x - low) / (high - low)

    def _segments(self, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log evidence and mean level of the segment of the items l..r, [T, l, r] each."""
        noise, prior = max(self.noise, LEAST_NOISE) ** 2, self.scale**2

        def over_segments(values: Tensor) -> Tensor:
            to = torch.nn.functional.pad(values.cumsum(dim=1), (1, 0))
            return to[:, None, 1:] - to[:, :-1, None]

        count, total = over_segments(mask), over_segments(y * mask)
        precision = noise + prior * count
        # Less the terms that are the same for all segmentations.
        log_evidence = 0.5 * (
            prior * total.square() / (noise * precision) - (precision / noise).log()
        )
        return log_evidence, prior * total / precision

    @staticmethod
    def _posterior(gaps: Tensor, log_segment: Tensor) -> Tensor:
        """P(items l..r are one whole segment | support) [T, l, r] for expected jumps in gaps."""
        tasks, n, _ = log_segment.shape
        jump = torch.log(-torch.expm1(-gaps))
        zero = gaps.new_zeros(tasks, 1)
        before, after = torch.cat([zero, jump], dim=1), torch.cat([jump, zero], dim=1)
        # No jump inside: minus the distance from l to r.
        at = torch.cat([zero, gaps.cumsum(dim=1)], dim=1)
        later = torch.ones(n, n, dtype=torch.bool).triu()
        whole = (log_segment - (at[:, None] - at[..., None])).masked_fill(~later, NEVER)
        ahead = [zero[:, 0]]  # of the items before l, log evidence
        for r in range(n):
            ends = torch.stack(ahead, dim=1) + before[:, : r + 1] + whole[:, : r + 1, r]
            ahead.append(ends.logsumexp(dim=1))
        behind = [zero[:, 0]]  # of the items after r
        for left in reversed(range(n)):
            starts = torch.stack(behind, dim=1) + after[:, left:] + whole[:, left, left:]
            behind.insert(0, starts.logsumexp(dim=1))
        forward, backward = torch.stack(ahead, dim=1), torch.stack(behind, dim=1)
        log_share = whole + (forward[:, :-1] + before)[..., None]
        log_share = log_share + (backward[:, 1:] + after)[:, None]
        return (log_share - forward[:, -1, None, None]).exp()


def _at_queries(x: Tensor, query: Tensor, share: Tensor, weighted: Tensor) -> Tensor:
    """Posterior means [T, Q] from the segments' shares and share-weighted means [T, l, r].

    x [T, n] ascending and query [T, Q] are in units in which one jump is expected.
    """
    n = x.shape[1]
    left = torch.nn.functional.pad(weighted.sum(dim=1), (1, 0))  # of segments that end at i
    right = torch.nn.functional.pad(weighted.sum(dim=2), (0, 1))  # that start after it
    place = torch.arange(n + 1)[:, None, None]
    starts, ends = torch.arange(n)[:, None], torch.arange(n)
    spans = ((starts < place) & (ends >= place)).double()
    across = torch.einsum("tlr,ilr->ti", weighted, spans)
    i = torch.searchsorted(x, query.contiguous())
    edge = torch.full_like(x[:, :1], float("inf"))
    a = query - torch.cat([-edge, x], dim=1).gather(1, i)
    b = torch.cat([x, edge], dim=1).gather(1, i) - query
    some = -torch.expm1(-(a + b)).clamp_max(-1e-300)
    stay_left = torch.exp(-a) * -torch.expm1(-b) / some
    stay_right = torch.exp(-b) * -torch.expm1(-a) / some
    ours = across.gather(1, i)
    return ours + stay_left * left.gather(1, i) + stay_right * right.gather(1, i)
