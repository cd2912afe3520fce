"""Aggregates over tasks and seeds, with intervals by a bootstrap of seeds.

``scores`` is an array [J, M]: J meta-seeds by M tasks (a suite's condition at a level), higher is
better, on one scale. Estimands of Agarwal et al. 2021 (Deep reinforcement learning at the edge of
the statistical precipice). Their bootstrap draws seeds anew within every task, for their agents are
trained task by task. A meta-learner is trained once and meets all tasks of its seed, so that these
are good or bad together, and seeds are drawn whole: ``apart`` says otherwise. Every function raises
ValueError on NaN: what stands for a missing score is a policy, and belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metabench.statistics.intervals import LEVEL, Interval

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""Of scores [..., J, M]: one number for each leading index."""

RESAMPLES = 10_000
LEAST_SEEDS = 5
"""Below, crossed effects and the probability of improvement have no interval: with three seeds they
would cover 0.92 and 0.84 where 0.95 is meant."""
BATCH = 4_000_000
"""Numbers resampled at once, which bounds memory."""


def iqm(scores: Array) -> Array:
    """Interquartile mean over seeds and tasks: the mean without the lowest and highest quarter."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(axis=-1))


def mean(scores: Array) -> Array:
    """Mean over seeds and tasks."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def optimality_gap(scores: Array, target: float = 1.0) -> Array:
    """How far scores fall short of ``target`` on average; what lies above it earns nothing."""
    return np.asarray(target - np.minimum(scores, target).mean(axis=(-2, -1)))


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Share of scores above each of ``thresholds`` [K]: [..., K]."""
    above = scores[..., None, :, :] > thresholds[:, None, None]
    return np.asarray(above.mean(axis=(-2, -1)))


def probability_of_improvement(a: Array, b: Array) -> Array:
    """Chance that a seed of ``a`` beats one of ``b`` on a task drawn at random; ties count half.

    The mean over tasks of the Mann-Whitney statistic over its largest value; a [..., J, M],
    b [..., J', M].
    """
    difference = a[..., :, None, :] - b[..., None, :, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    return np.asarray(wins.mean(axis=(-3, -2, -1)))


def resampled(
    scores: Array,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    draws: int | None = None,
    *,
    apart: bool = False,
) -> Array:
    """The statistic of ``resamples`` bootstrap samples, [resamples, ...].

    Seeds are drawn with replacement, a seed with all its tasks; ``apart`` draws them within each
    task, for scores whose trainings were each for one task. ``draws`` of J seeds, by default J - 1:
    then the variance of a resampled mean is the unbiased estimate of that of the mean, where J
    draws give (J - 1) / J of it (McCarthy and Snowden 1985).
    """
    seeds, tasks = _checked(scores).shape
    size = max(seeds - 1, 1) if draws is None else draws
    # Task by task in memory, so that a draw reads its own row.
    columns = np.ascontiguousarray(scores.T, dtype=np.float32)
    start = (np.arange(tasks) * seeds)[:, None]
    parts = []
    for first in range(0, resamples, step := max(1, BATCH // (size * tasks))):
        count = min(step, resamples - first)
        drawn = (count, tasks if apart else 1, size)
        index = rng.integers(seeds, size=drawn, dtype=np.uint16)
        parts.append(statistic(columns.ravel()[index + start].swapaxes(-1, -2)))
    return np.concatenate(parts).astype(np.float64)


def bootstrap_interval(
    scores: Array,
    statistic: Statistic,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    *,
    apart: bool = False,
) -> Interval:
    """An interval for one statistic of scores [J, M]; none from a single seed.

    The point, and Student's quantile times the deviation of the bootstrap, with J - 1 degrees of
    freedom, or M (J - 1) where tasks were trained ``apart``. With few seeds percentiles cover less.
    """
    point, (seeds, tasks) = float(statistic(_checked(scores))), scores.shape
    if seeds == 1:
        return Interval(point, None, None, 1)
    deviation = float(resampled(scores, statistic, rng, resamples, apart=apart).std(ddof=1))
    freedom = (tasks if apart else 1) * (seeds - 1)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * deviation
    return Interval(point, point - half, point + half, seeds)


def improvement_interval(
    a: Array,
    b: Array,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    *,
    apart: bool = False,
) -> Interval:
    """An interval, within [0, 1], for the probability that ``a`` improves on ``b``.

    Seeds of a [J, M] and b [J', M] are drawn one without regard to the other. None below
    ``LEAST_SEEDS``; too wide where tasks were trained apart and that is not said.
    """
    seeds = min(len(a), len(b))
    point = float(probability_of_improvement(_checked(a), _checked(b)))
    if seeds < LEAST_SEEDS:
        return Interval(point, None, None, seeds)

    def identity(scores: Array) -> Array:
        return scores

    drawn = (resampled(s, identity, rng, resamples, apart=apart) for s in (a, b))
    deviation = float(probability_of_improvement(*drawn).std(ddof=1))
    freedom = (a.shape[1] if apart else 1) * (seeds - 1)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * deviation
    return Interval(point, max(point - half, 0.0), min(point + half, 1.0), seeds)


def crossed_interval(values: Array, level: float = LEVEL) -> Interval:
    """An interval for the mean of values [J, N] where all J seeds share the same N episodes.

    Seeds and episodes are crossed random effects: the variance of the mean is
    (MS_seeds + MS_episodes - MS_residual) / (J N), with Satterthwaite's degrees of freedom (Searle,
    Casella and McCulloch 1992, chapter 4). A t-interval over seeds alone takes the episodes for
    the world; a bootstrap over both has no room for the few seeds.
    """
    seeds, episodes = _checked(values).shape
    center = float(values.mean())
    if seeds < LEAST_SEEDS or episodes == 1:
        return Interval(center, None, None, seeds)
    of_seeds, of_episodes = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_seeds[:, None] - of_episodes + center
    free = np.array([seeds - 1, episodes - 1, (seeds - 1) * (episodes - 1)], dtype=np.float64)
    squares = np.array(
        [
            episodes * ((of_seeds - center) ** 2).sum(),
            seeds * ((of_episodes - center) ** 2).sum(),
            (rest**2).sum(),
        ]
    )
    parts = squares / free / values.size * np.array([1.0, 1.0, -1.0])
    variance = float(parts.sum())
    if variance <= parts[0]:
        # No effect of the episodes is seen: what is left is the seeds' own t-interval.
        variance, parts = float(parts[0]), parts[:1]
    freedom = variance**2 / float((parts**2 / free[: len(parts)]).sum()) if variance > 0 else 1.0
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * np.sqrt(variance)
    return Interval(center, center - half, center + half, seeds)


def _checked(scores: Array) -> Array:
    if scores.ndim != 2 or scores.size == 0 or np.isnan(scores).any():
        raise ValueError("scores need two axes, at least one value and no NaN")
    return scores
