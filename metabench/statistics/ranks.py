"""Ranks that say what they do not know."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metabench.statistics.comparison import holm, paired
from metabench.statistics.intervals import Interval, t_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where an entrant stands among the pool at hand; 1 is best."""

    low: int
    high: int
    tier: int
    """Entrants of a tier cannot be separated from its first."""

    @property
    def text(self) -> str:
        """``2-4``, or ``3`` where the set has one rank."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


def rank_sets(scores: Array, alpha: float = 0.05) -> list[Place]:
    """Simultaneous confidence sets for the ranks of K entrants, from scores [K, J] over seeds.

    NaN marks a seed that an entrant lacks; pairs are compared on the seeds that both have. Entrant
    i is at best 1 + (those that are better beyond doubt) and at worst K - (those that are worse).
    With probability 1 - ``alpha`` all sets hold at once, ties counted for every rank they span.
    Mogstad, Romano, Shaikh and Wilhelm 2024 get the sets from simultaneous intervals of all
    differences by a bootstrap, which needs many seeds; here they come from all paired tests
    adjusted by Holm, which holds at three seeds and under any dependence.
    """
    count = len(scores)
    pairs = list(combinations(range(count), 2))
    p, signs = [], []
    for i, j in pairs:
        both = ~np.isnan(scores[i]) & ~np.isnan(scores[j])
        found = paired(scores[i][both], scores[j][both]) if both.any() else None
        p.append(np.nan if found is None or found.p is None else found.p)
        signs.append(0.0 if found is None else np.sign(found.difference.mean))
    better = np.zeros((count, count), dtype=bool)
    """[i, j]: i is ahead of j beyond doubt."""
    for (i, j), adjusted, sign in zip(pairs, holm(p), signs, strict=True):
        if adjusted <= alpha and sign:
            better[(i, j) if sign > 0 else (j, i)] = True
    with np.errstate(invalid="ignore"):
        mean = np.array([np.nanmean(s) if not np.isnan(s).all() else -np.inf for s in scores])
    tiers = _tiers(mean, better)
    return [
        Place(1 + int(better[:, i].sum()), count - int(better[i].sum()), tiers[i])
        for i in range(count)
    ]


def mean_ranks(scores: Array) -> list[Interval]:
    """Of K entrants, from scores [K, J, M]: the rank within a seed and task, averaged over tasks.

    1 is best, ties share; the intervals are Student's over seeds.
    """
    ranks = stats.rankdata(-scores, axis=0).mean(axis=2)
    return [t_interval([float(r) for r in seeds]) for seeds in ranks]


def set_of_best(places: list[Place]) -> list[int]:
    """Indices of the entrants that may be the best."""
    return [i for i, place in enumerate(places) if place.low == 1]


def _tiers(mean: Array, better: NDArray[np.bool_]) -> list[int]:
    """By falling mean, a new tier starts with whom the first of the tier is ahead of."""
    tiers, tier, head = [0] * len(mean), 1, None
    for i in np.argsort(-mean, kind="stable"):
        if head is not None and better[head, i]:
            tier, head = tier + 1, i
        elif head is None:
            head = i
        tiers[i] = tier
    return tiers
