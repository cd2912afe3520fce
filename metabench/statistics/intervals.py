"""Intervals over meta-seeds. The meta-seed is the replicate; episodes are nested in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over ``seeds`` meta-seeds; ``low`` and ``high`` are None with a single seed."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def half_width(self) -> float | None:
        """Half the length, or None."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def text(self, digits: int = 2) -> str:
        """``0.71 ± 0.05``; a single seed says that it has no interval."""
        if self.half_width is None:
            return f"{number(self.mean, digits)} (1 seed: no interval)"
        return f"{number(self.mean, digits)} ± {number(self.half_width, digits)}"


LARGE = 1000


def number(value: float, digits: int = 2) -> str:
    """``-0.71``; what rounds to zero has no sign, and large ones have no decimals."""
    digits = 0 if abs(value) >= LARGE else digits
    return f"{round(value, digits) + 0.0:.{digits}f}"


def format_interval(interval: Interval, digits: int = 2) -> str:
    """``0.71 ± 0.05 (3 seeds)``, for where the number stands alone."""
    if interval.seeds == 1:
        return interval.text(digits)
    return f"{interval.text(digits)} ({interval.seeds} seeds)"


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval for the mean of independent seeds (Student 1908).

    Each seed draws its own episodes, so the spread between seeds contains both the training's
    and the episodes' variance, and the interval covers at every number of seeds from two.
    Raises ValueError without values or with NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or np.isnan(array).any():
        raise ValueError("an interval needs at least one value and no NaN")
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, None, None, 1)
    error = float(array.std(ddof=1)) / np.sqrt(array.size)
    half = float(stats.t.ppf((1 + level) / 2, array.size - 1)) * error
    return Interval(mean, mean - half, mean + half, int(array.size))


def one_sided_p(values: Sequence[float], threshold: float, above: bool) -> float:
    """p of Student's test that the mean is not beyond a threshold; at least two values.

    It is at most 0.05 exactly where the one-sided 95 % bound lies beyond the threshold.
    """
    array = np.asarray(values, dtype=np.float64)
    beyond = float(array.mean() - threshold) * (1 if above else -1)
    error = float(array.std(ddof=1)) / np.sqrt(array.size)
    if error == 0:
        return float(beyond <= 0)
    return float(stats.t.sf(beyond / error, array.size - 1))
