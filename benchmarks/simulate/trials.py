"""Worlds whose truth is known, and one trial of a procedure in each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from metabench.estimators.skill import linearised
from metabench.statistics import aggregate, comparison, families, ranks
from metabench.statistics.intervals import Interval, t_interval
from metabench.statistics.sequential import BettingInterval

Array = NDArray[np.float64]

SEED_SD, EPISODE_SD, DIFFICULTY_SD, EPISODES = 1.0, 8.0, 6.0, 600
CONFIDENCE = 0.95


def contains(interval: Interval, truth: float) -> bool:
    """Whether the truth is inside."""
    if interval.low is None or interval.high is None:
        return False
    return interval.low <= truth <= interval.high


def normal_seeds(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Effects of seeds."""
    return rng.normal(0, SEED_SD, shape)


def skewed_seeds(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The same mean and spread with a long lower tail: trainings that went badly (skewness -2)."""
    return SEED_SD * (1 - rng.exponential(1.0, shape))


WORLDS = {"normal seeds": normal_seeds, "skewed seeds": skewed_seeds}
Effects = Callable[[np.random.Generator, tuple[int, ...]], Array]


def own_episodes(effects: Effects, seeds: int, rng: np.random.Generator) -> Array:
    """Per-seed means, each seed with episodes of its own."""
    noise = np.hypot(EPISODE_SD, DIFFICULTY_SD) / np.sqrt(EPISODES)
    return effects(rng, (seeds,)) + rng.normal(0, noise, seeds)


def shared_episodes(effects: Effects, seeds: int, rng: np.random.Generator) -> Array:
    """[J, N]: all seeds see the same episodes."""
    return np.asarray(
        effects(rng, (seeds, 1))
        + rng.normal(0, DIFFICULTY_SD, EPISODES)
        + rng.normal(0, EPISODE_SD, (seeds, EPISODES))
    )


def t_covers(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """The interval of every board."""
    return contains(t_interval(own_episodes(effects, seeds, rng).tolist()), 0.0)


def t_on_shared_covers(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """The same where it is not meant for."""
    return contains(t_interval(shared_episodes(effects, seeds, rng).mean(axis=1).tolist()), 0.0)


def crossed_covers(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """Seeds and episodes as crossed effects."""
    return contains(aggregate.crossed_interval(shared_episodes(effects, seeds, rng)), 0.0)


def published_covers(rng: np.random.Generator) -> bool:
    """What papers print."""
    scores = shared_episodes(normal_seeds, 1, rng)[0]
    return bool(abs(scores.mean()) <= 1.96 * scores.std() / np.sqrt(EPISODES))


TASK_MEANS = {30: np.linspace(-0.5, 1.0, 30), 6: np.linspace(-0.5, 1.0, 6)}
TASK_SD = 0.15


def scores_of(seeds: int, tasks: int, shared: float, rng: np.random.Generator) -> Array:
    """Skills [J, M] on tasks of unequal difficulty; of the variance, seeds' tasks share a part."""
    own = rng.normal(0, TASK_SD * np.sqrt(1 - shared), (seeds, tasks))
    return TASK_MEANS[tasks] + own + rng.normal(0, TASK_SD * np.sqrt(shared), (seeds, 1))


STATISTICS = {
    "IQM": aggregate.iqm,
    "mean": aggregate.mean,
    "optimality gap": aggregate.optimality_gap,
}


def aggregate_covers(
    name: str,
    tasks: int,
    shared: float,
    apart: bool,
    seeds: int,
    truth: float,
    rng: np.random.Generator,
) -> bool:
    """The t-quantile times the bootstrap's deviation."""
    scores = scores_of(seeds, tasks, shared, rng)
    found = aggregate.bootstrap_interval(
        scores, STATISTICS[name], rng, resamples=1_000, apart=apart
    )
    return contains(found, truth)


def improvement_covers(shared: float, seeds: int, truth: float, rng: np.random.Generator) -> bool:
    """Two learners, one ahead by 0.1 on every task."""
    a, b = scores_of(seeds, 30, shared, rng) + 0.1, scores_of(seeds, 30, shared, rng)
    return contains(aggregate.improvement_interval(a, b, rng, resamples=1_000), truth)


def paired_rejects(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """Two equal learners."""
    a, b = (own_episodes(effects, seeds, rng) for _ in range(2))
    p = comparison.paired(a, b).p
    return p is not None and p <= 1 - CONFIDENCE


def episode_z_rejects(rng: np.random.Generator) -> bool:
    """Two equal learners, one seed each, episodes taken for replicates."""
    a, b = (shared_episodes(normal_seeds, 1, rng)[0] for _ in range(2))
    d = a - b
    return bool(abs(d.mean()) > 1.96 * d.std() / np.sqrt(EPISODES))


def power_holds(difference: float, seeds: int, rng: np.random.Generator) -> bool:
    """A true difference in units of the deviation between seeds."""
    d = rng.normal(difference, 1.0, seeds)
    return bool(stats.ttest_1samp(d, 0.0).pvalue <= 1 - CONFIDENCE)


def holm_errs(seeds: int, rng: np.random.Generator) -> bool:
    """Ten probes of one learner that is exactly at every threshold."""
    p = np.asarray(stats.ttest_1samp(rng.normal(size=(10, seeds)), 0.0, axis=1).pvalue)
    return bool((comparison.holm(p) <= 1 - CONFIDENCE).any())


def friedman_errs(blocks: int, seeds: int, rng: np.random.Generator) -> bool:
    """Five equal learners; ``seeds`` > 1 takes seeds of one family for blocks."""
    effects = rng.normal(0, 1, (blocks, 1, 5)) + rng.normal(0, 0.3, (blocks, seeds, 5))
    return families.friedman(effects.reshape(-1, 5)).p <= 1 - CONFIDENCE


def wilcoxon_errs(blocks: int, rng: np.random.Generator) -> bool:
    """Five equal learners."""
    table = families.wilcoxon_holm(rng.normal(size=(blocks, 5)))
    return bool((table["adjusted"] <= 1 - CONFIDENCE).any())


RANKED = np.array([2.0, 2.0, 2.0, 1.0, 0.0, 0.0])
FIRST, LAST = (1, 1, 1, 4, 5, 5), (3, 3, 3, 4, 6, 6)
"""The ranks that each entrant's tie spans."""


def ranks_cover(gap: float, seeds: int, rng: np.random.Generator) -> bool:
    """Three equal entrants, one behind, two equal ones behind that."""
    scores = gap * RANKED[:, None] + rng.normal(size=(6, seeds))
    places = ranks.rank_sets(scores)
    return all(
        p.low <= first and p.high >= last
        for p, first, last in zip(places, FIRST, LAST, strict=True)
    )


def betting_misses(chance: float, rng: np.random.Generator) -> bool:
    """Whether the truth is ever outside while a thousand episodes are watched one by one."""
    interval = BettingInterval()
    interval.update((rng.random(1_000) < chance).astype(np.float64))
    low, high = interval.bounds
    return not low <= chance <= high


def repeated_z_misses(chance: float, rng: np.random.Generator) -> bool:
    """The same with an interval that is meant for one look."""
    scores = (rng.random(1_000) < chance).astype(np.float64)
    n = np.arange(1, 1_001)
    mean = scores.cumsum() / n
    half = 1.96 * np.sqrt(np.maximum(mean * (1 - mean), 1e-12) / n)
    return bool((np.abs(mean - chance) > half)[30:].any())


def equal_declared_ahead(true: float, rng: np.random.Generator) -> bool:
    """Whether one of two learners within a point is declared ahead with 95 %."""
    behind, _, ahead = families.signed_rank_posterior(rng.normal(true, 1.5, 12), rope=1.0)
    return max(behind, ahead) > CONFIDENCE


SPREAD, SKILL = 0.6, -2.0
"""Relative deviation of a seed's room between baseline and oracle; true skill."""


def gains_and_rooms(seeds: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """What a learner gains on the baseline, and what there is to gain, of every seed.

    The room has mean 1 and a long upper tail, as a mean of squared errors over episodes has; half
    of what makes the baseline bad in a seed makes the learner bad too.
    """
    room = rng.gamma(1 / SPREAD**2, SPREAD**2, seeds)
    return SKILL + 0.5 * (room - 1) + rng.normal(0, SPREAD, seeds), room


def skill_covers(seeds: int, rng: np.random.Generator) -> bool:
    """The interval of skill on every board."""
    gain, room = (pd.Series(values) for values in gains_and_rooms(seeds, rng))
    one_group = [pd.Series(np.zeros(seeds))]
    return contains(t_interval(linearised(gain, room, one_group).tolist()), SKILL)


def mean_of_ratios_covers(seeds: int, rng: np.random.Generator) -> bool:
    """The same with each seed's own ratio."""
    gain, room = gains_and_rooms(seeds, rng)
    return contains(t_interval((gain / room).tolist()), SKILL)


STOP, QUERIES, ACCURACY = 0.1, 25, 0.9
"""Width at which episodes end, queries of an episode, mean accuracy over seeds."""


def stopped_covers(seeds: int, rng: np.random.Generator) -> bool:
    """t over seeds whose episodes ended once each accuracy was known well enough."""
    means = []
    for _ in range(seeds):
        chance = ACCURACY + SEED_SD / 100 * rng.normal()
        # Episodes differ in difficulty, so that their spread is more than that of coin flips.
        own = np.clip(rng.normal(chance, DIFFICULTY_SD / 100, EPISODES), 0, 1)
        scores = rng.binomial(QUERIES, own) / QUERIES
        means.append(float(scores[: BettingInterval().until(STOP, scores)].mean()))
    return contains(t_interval(means), ACCURACY)
