"""Several learners over several families of tasks. Families are the blocks, never seeds.

Seeds of one family are not independent blocks: taken as such, Friedman's test rejects a true
hypothesis nine times of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from baycomp import SignedRankTest  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy import stats

from metabench.statistics.comparison import holm

Array = NDArray[np.float64]

LEAST_FAMILIES = 6
"""Wilcoxon's test cannot reject at 0.05 with fewer: its least p is 2 / 2^n."""
DRAWS = 50_000


@dataclass(frozen=True)
class Friedman:
    """Mean ranks [K] over families, 1 is best, and the test that they are all equal."""

    ranks: Array
    statistic: float
    p: float
    families: int


def friedman(scores: Array) -> Friedman:
    """Friedman's test of scores [families, K], higher is better (Demsar 2006).

    Raises ValueError with fewer than three learners or two families, or with NaN.
    """
    families, learners = scores.shape
    if learners < 3 or families < 2 or np.isnan(scores).any():
        raise ValueError("Friedman's test needs three learners, two families and no NaN")
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    statistic, p = stats.friedmanchisquare(*scores.T)
    return Friedman(ranks, float(statistic), float(p), families)


def wilcoxon_holm(scores: Array) -> pd.DataFrame:
    """All pairs by Wilcoxon's signed-rank test over families, adjusted by Holm (Benavoli 2016).

    Scores [families, K]. Columns a, b (indices), difference (median), p, adjusted.
    """
    rows = []
    for a, b in combinations(range(scores.shape[1]), 2):
        d = scores[:, a] - scores[:, b]
        p = float(stats.wilcoxon(d).pvalue) if d.any() else 1.0
        rows.append((a, b, float(np.median(d)), p))
    table = pd.DataFrame(rows, columns=["a", "b", "difference", "p"])
    return table.assign(adjusted=holm(table["p"].to_numpy()))


def critical_difference(learners: int, families: int, alpha: float = 0.05) -> float:
    """Nemenyi's: mean ranks closer than this cannot be told apart (Demsar 2006, section 3.2.2).

    For the picture only: it uses no pairing and is the weaker test.
    """
    quantile = float(stats.studentized_range.ppf(1 - alpha, learners, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(learners * (learners + 1) / (6 * families)))


def signed_rank_posterior(
    differences: Array, rope: float, seed: int = 0
) -> tuple[float, float, float]:
    """Chances that b is ahead, that both are equal within ``rope``, that a is ahead.

    The Bayesian signed-rank test of Benavoli et al. 2017 on differences a - b over families.
    """
    probabilities = SignedRankTest.probs(
        np.zeros_like(differences), differences, rope=rope, nsamples=DRAWS, random_state=seed
    )
    behind, equal, ahead = (float(p) for p in probabilities)
    return behind, equal, ahead
