"""Sensitivity to hyper-parameters that somebody has to set.

``scores`` is an array [E, 2, P]: environments (task families) by halves of the evaluation by points
(settings of the hyper-parameters), higher is better, NaN where a training failed. A setting is
chosen on half 0 and scored on half 1: the largest of many noisy scores is too large.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR_BEST = 0.95
PERCENTILES = (5, 95)
"""Of an environment's scores, which become 0 and 1."""


def gamma(scores: Array) -> Array:
    """Scores [E, 2, P] on one scale: the 5th and 95th percentile of an environment are 0 and 1.

    After Adkins et al. 2024, section 3. A training that failed has the least score of its
    environment; where all are equal, every score is 1.
    """
    lost = np.isnan(scores)
    worst = np.where(lost, np.inf, scores).min(axis=(1, 2), keepdims=True)
    whole = np.where(lost, np.where(np.isfinite(worst), worst, 0.0), scores)
    low, high = np.percentile(whole.mean(axis=1, keepdims=True), PERCENTILES, axis=2, keepdims=True)
    room = high - low
    return np.where(room > 0, (whole - low) / np.where(room > 0, room, 1.0), 1.0)


def phi(scores: Array) -> float:
    """Phi = mean_e max_h Gamma(e, h) - max_h mean_e Gamma(e, h).

    What tuning to every environment wins over one setting for all (Adkins et al. 2024, equation 3);
    both settings are chosen on half 0. Always 0 with one environment.
    """
    chosen, scored = gamma(scores).swapaxes(0, 1)
    each = scored[np.arange(len(scored)), chosen.argmax(axis=1)].mean()
    return float(each - scored[:, chosen.mean(axis=0).argmax()].mean())


def near_best(scores: Array) -> Array:
    """V95 [E]: the share of settings whose score is at least 0.95 of the best one's.

    Which setting is best is chosen on half 0; it and all others are scored on half 1. A training
    that failed is never near the best.
    """
    chosen, scored = gamma(scores).swapaxes(0, 1)
    best = scored[np.arange(len(scored)), chosen.argmax(axis=1)]
    # 0.95 of a best score below 0, which noise can make, would be above it.
    bar = np.minimum(NEAR_BEST * best, best)
    near = (scored >= bar[:, None]) & ~np.isnan(scores).any(axis=1)
    return np.asarray(near.mean(axis=1), dtype=np.float64)


def failed(scores: Array) -> Array:
    """[E]: the share of settings with a training that failed."""
    return np.asarray(np.isnan(scores).any(axis=1).mean(axis=1), dtype=np.float64)


def termination_ratio(lower: Array, upper: Array) -> float:
    """rho_k: interquartile range of scores [P'] over level k + 1, by that [P] over level k.

    The scores are those of settings that differ in knobs of that level alone, or a surrogate's mean
    over all others (``surrogate.effects``).

    Level 0 is the inner learning rate, 1 the meta-learning rate, 2 the rate of that rate. Below 1
    the higher level matters less: the tower of hand-set numbers may end there. NaN where the lower
    level makes no difference at all.
    """
    quartiles = np.percentile(lower, [25, 75]), np.percentile(upper, [25, 75])
    below, above = (float(high - low) for low, high in quartiles)
    return above / below if below > 0 else float("nan")


def over_points(
    statistic: Callable[..., float], *scores: Array, draws: int = 999, seed: int = 0
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval over points, the last axis of each array.

    It says how far the design's own chance goes, within the environments and seeds at hand; for
    others, take a t-interval over those. Arrays are resampled independently.
    """
    rng = np.random.default_rng(seed)
    values = [
        statistic(*(s[..., rng.integers(s.shape[-1], size=s.shape[-1])] for s in scores))
        for _ in range(draws)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
