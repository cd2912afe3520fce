"""Anytime-valid stopping: an interval that may be looked at after every episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.statistics.intervals import LEVEL

Array = NDArray[np.float64]

GRID = 1_001
"""Candidate means; the interval is rounded outward to them."""
TRUNCATION = 0.5
"""Bets stay below this share of what would risk ruin (Waudby-Smith and Ramdas's c)."""


class BettingInterval:
    """The hedged-capital confidence sequence for the mean of scores in [0, 1].

    Waudby-Smith and Ramdas 2024, theorem 3, with predictable plug-in bets (equation 26). Against
    every candidate mean m one gambler bets that scores are higher and another that they are lower;
    m leaves the interval once half of either's capital has passed 1 / alpha. With probability
    ``level`` the true mean stays inside for ever, however often one looks and whenever one stops.
    It speaks of the law that episodes come from for one trained learner; seeds are another matter.
    """

    def __init__(self, level: float = LEVEL) -> None:
        self.alpha = 1 - level
        self.means = np.linspace(0.0, 1.0, GRID)
        self.higher = np.zeros(GRID)
        self.lower = np.zeros(GRID)
        self.inside = np.ones(GRID, dtype=bool)
        self.count, self.total, self.squares = 0, 0.0, 0.0

    @property
    def width(self) -> float:
        """Of the interval now."""
        low, high = self.bounds
        return high - low

    def until(self, width: float, scores: Array) -> int:
        """See scores one by one until the interval is that narrow; how many it took of them."""
        for seen, score in enumerate(scores, 1):
            self.update(np.atleast_1d(score))
            if self.width <= width:
                return seen
        return len(scores)

    def update(self, scores: Array) -> None:
        """See more scores, in order. Raises ValueError outside [0, 1]."""
        if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
            raise ValueError("scores must lie within [0, 1]")
        for x in scores:
            self._see(float(x))

    def _see(self, x: float) -> None:
        # The bet uses only what came before.
        t = self.count + 1
        variance = (0.25 + self.squares) / t
        bet = np.sqrt(2 * np.log(2 / self.alpha) / (variance * t * np.log(t + 1)))
        with np.errstate(divide="ignore"):
            up = np.minimum(bet, TRUNCATION / self.means)
            down = np.minimum(bet, TRUNCATION / (1 - self.means))
        self.higher += np.log1p(up * (x - self.means))
        self.lower += np.log1p(-down * (x - self.means))
        self.inside &= np.maximum(self.higher, self.lower) + np.log(0.5) < np.log(1 / self.alpha)
        self.count, self.total = t, self.total + x
        self.squares += (x - (0.5 + self.total) / (t + 1)) ** 2

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval now. It only ever shrinks; what left does not come back."""
        kept = np.flatnonzero(self.inside)
        if not len(kept):
            return (0.0, 1.0)
        step = 1 / (GRID - 1)
        low, high = self.means[kept[0]], self.means[kept[-1]]
        return max(0.0, float(low - step)), min(1.0, float(high + step))
