"""How many seeds and episodes a difference needs, and what a run could have seen.

A paired difference of seed j and episode e is d + s_j + r_je: the seeds' own spread and the
episodes' noise, which the mean over N episodes divides by N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]

ALPHA, POWER = 0.05, 0.80
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Components:
    """Standard deviations of a paired difference: between seeds, and between episodes of a seed."""

    seed: float
    episode: float
    episodes: int
    """How many a seed had when they were estimated."""

    def of_seed_mean(self, episodes: int | None = None) -> float:
        """Standard deviation of one seed's mean over ``episodes``, by default those it had."""
        return float(np.hypot(self.seed, self.episode / np.sqrt(episodes or self.episodes)))


def components(differences: Array) -> Components:
    """Of paired differences [J, N], each seed with episodes of its own.

    Method of moments; a negative estimate between seeds is 0. Raises ValueError with fewer than two
    seeds or two episodes, or with NaN.
    """
    if differences.ndim != 2 or min(differences.shape) < 2 or np.isnan(differences).any():
        raise ValueError("variance components need two seeds, two episodes and no NaN")
    episodes = differences.shape[1]
    within = float(differences.var(axis=1, ddof=1).mean())
    between = float(differences.mean(axis=1).var(ddof=1)) - within / episodes
    return Components(float(np.sqrt(max(between, 0.0))), float(np.sqrt(within)), episodes)


def power(difference: float, spread: float, seeds: int, alpha: float = ALPHA) -> float:
    """Power of the two-sided paired t-test; ``spread`` is the deviation of seeds' differences."""
    if seeds < 2 or spread <= 0:
        return 0.0 if seeds < 2 or difference == 0 else 1.0
    cut = float(stats.t.ppf(1 - alpha / 2, seeds - 1))
    shift = abs(difference) / spread * np.sqrt(seeds)
    # The far tail is NaN where it is too small for scipy; statsmodels makes the whole NaN there.
    wrong_side = np.nan_to_num(stats.nct.cdf(-cut, seeds - 1, shift))
    return float(stats.nct.sf(cut, seeds - 1, shift) + wrong_side)


def seeds_needed(
    difference: float, spread: float, chance: float = POWER, alpha: float = ALPHA
) -> int | None:
    """The least number of seeds with that power; None beyond 10,000."""
    if difference == 0:
        return None
    low, high = 2, 4
    while power(difference, spread, high, alpha) < chance:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while low < high:
        middle = (low + high) // 2
        if power(difference, spread, middle, alpha) >= chance:
            high = middle
        else:
            low = middle + 1
    return high


def detectable(
    spread: float, seeds: int, chance: float = POWER, alpha: float = ALPHA
) -> float | None:
    """The difference that so many seeds find with that power; None with a single seed."""
    if seeds < 2:
        return None
    if spread <= 0:
        return 0.0

    def short(effect: float) -> float:
        return power(effect * spread, spread, seeds, alpha) - chance

    high = 1.0
    while short(high) < 0:
        high *= 2
    return float(optimize.brentq(short, 0.0, high)) * spread
