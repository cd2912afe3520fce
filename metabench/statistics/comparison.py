"""Comparisons of learners. The replicate is the meta-seed; pairs share their episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metabench.statistics.intervals import Interval, t_interval
from metabench.statistics.power import detectable

Array = NDArray[np.float64]

SIGN_FLIP_FROM = 8
"""Seeds from which the exact sign-flip test is used: with five it can never reject at 0.05 (its
least p is 2 / 2^5), with eight it can and holds its level without a normal distribution."""
FLIPS = 2**16
"""All flips of up to 16 differences are enumerated; of more, so many are drawn."""


@dataclass(frozen=True)
class Comparison:
    """``a`` minus ``b`` over the meta-seeds that both have."""

    difference: Interval
    p: float | None
    """Two-sided; None with a single seed."""
    test: str
    """"paired t" or "sign flip"; "none" with a single seed."""
    spread: float
    """Standard deviation of the seeds' differences."""

    @property
    def detectable(self) -> float | None:
        """The difference that these seeds would have found with 80 % power at 5 %."""
        return detectable(self.spread, self.difference.seeds)

    def verdict(self, alpha: float = 0.05, p: float | None = None) -> str:
        """ "ahead", "behind" or "cannot separate"; ``p`` may be one adjusted for multiplicity."""
        p = self.p if p is None else p
        if p is None or p > alpha or self.difference.mean == 0:
            return "cannot separate"
        return "ahead" if self.difference.mean > 0 else "behind"

    def words(self, a: str, b: str, alpha: float = 0.05, digits: int = 3) -> str:
        """The verdict as a sentence that says what the seeds could have shown."""
        d, verdict = self.difference, self.verdict(alpha)
        if d.low is None or d.high is None:
            return f"{a} and {b} cannot be separated with one seed"
        seeds = f"{d.seeds} seeds"
        if self.spread == 0 == d.mean:
            return f"{a} and {b} are equal on each of {seeds}"
        span = f"{d.mean:+.{digits}f} [{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
        if verdict != "cannot separate":
            return f"{a} is {verdict} of {b} by {span} ({seeds}, {self.test}, p = {self.p:.3g})"
        seen = "" if self.detectable is None else f"; {seeds} see {self.detectable:.2g} or more"
        return f"{a} and {b} cannot be separated with {seeds}: {span}{seen}"


def paired(a: Sequence[float] | Array, b: Sequence[float] | Array) -> Comparison:
    """Compare per-seed means of two learners on shared episodes, in the same order of seeds.

    Paired t below eight seeds, exact sign flips from there on; the interval is Student's. Raises
    ValueError with no seed, NaN, or unequal numbers.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError("a paired comparison needs the same seeds of both")
    d = x - y
    interval = t_interval([float(v) for v in d])
    if len(d) == 1:
        return Comparison(interval, None, "none", 0.0)
    spread = float(d.std(ddof=1))
    if len(d) >= SIGN_FLIP_FROM:
        return Comparison(interval, sign_flip(d), "sign flip", spread)
    if spread == 0:
        # Equal to the bit, or shifted by a constant: no chance was at work.
        return Comparison(interval, 1.0 if interval.mean == 0 else 0.0, "paired t", spread)
    return Comparison(interval, float(stats.ttest_1samp(d, 0.0).pvalue), "paired t", spread)


def sign_flip(differences: Array) -> float:
    """Two-sided p of the mean under flips of signs; exact up to 16 differences.

    The hypothesis is that differences are symmetric about 0 (Fisher 1935).
    """
    if not differences.any():
        return 1.0
    result = stats.permutation_test(
        (differences,),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def holm(p: Sequence[float] | Array) -> Array:
    """Adjusted p-values that hold the family-wise error under any dependence (Holm 1979)."""
    return _adjusted(p, _holm)


def benjamini_hochberg(p: Sequence[float] | Array) -> Array:
    """Adjusted p-values that hold the false discovery rate; NaN stays NaN and is not counted."""
    return _adjusted(p, lambda values: stats.false_discovery_control(values, method="bh"))


def _holm(p: Array) -> Array:
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _adjusted(p: Sequence[float] | Array, adjust: Callable[[Array], Array]) -> Array:
    values = np.asarray(p, dtype=np.float64)
    found = ~np.isnan(values)
    result = np.full(values.shape, np.nan)
    if found.any():
        result[found] = adjust(values[found])
    return result
