"""Selection optimism: the best of n looks better than it is, because it was picked for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import integrate, special, stats

from metabench.estimators.panel import Panel
from metabench.records import IN_DISTRIBUTION, ORACLE

Array = NDArray[np.float64]


@cache
def expected_maximum(n: int) -> float:
    """The mean of the largest of n independent standard normal numbers, by quadrature.

    Blom's approximation (1958) of it is the normal quantile at 1 - 0.625 / (n + 0.25).
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, found {n}")

    def density(x: float) -> float:
        return float(x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1))

    return float(integrate.quad(density, -10, 10, limit=200)[0])


def gaussian_optimism(spread: float, error: float, n: int) -> float:
    """Delta_sel of the best of n with true scores N(., spread^2) and errors N(0, error^2)."""
    total = np.hypot(spread, error)
    return float(error**2 / total * expected_maximum(n)) if total > 0 else 0.0


@dataclass(frozen=True)
class Optimism:
    """Selection among n configurations, in units of the score."""

    n: int
    value: float
    """Delta_sel = p_A(best_A) - p_B(best_A), the mean over both roles of the halves."""
    gaussian: float
    """What normal scores and errors of the spread found here would give."""
    gain: float
    """p_A(best_A) less the mean of p_A: what the selection reports to have won."""

    @property
    def flag(self) -> bool:
        """Whether more than half of the reported gain is optimism."""
        return self.value > self.gain / 2


def selection_optimism(scores: Array) -> Optimism:
    """Of scores [n, m], higher is better: n configurations on the same m episodes, m even.

    The halves are the even and the odd episodes. Both parts of Delta_sel are means of unbiased
    differences, so it is unbiased for the mean of two selections. For the normal prediction the
    error is what is left of an episode beside its own difficulty, which all configurations share.
    Raises ValueError with fewer than two configurations or four episodes.
    """
    n, m = scores.shape
    if n < 2 or m < 4:
        raise ValueError(f"needs two configurations and four episodes, found {n} and {m}")
    a, b = halves(scores)
    picks = [(a, b, int(a.argmax())), (b, a, int(b.argmax()))]
    value = float(np.mean([p[k] - q[k] for p, q, k in picks]))
    gain = float(np.mean([p[k] - p.mean() for p, _, k in picks]))
    mean = scores.mean(axis=1, keepdims=True)
    residual = scores - mean - scores.mean(axis=0) + scores.mean()
    noise = float((residual**2).sum() / ((n - 1) * (m - 1)))
    spread = max(0.0, float(mean.var(ddof=1)) - noise / m)
    return Optimism(n, value, gaussian_optimism(spread**0.5, (2 * noise / m) ** 0.5, n), gain)


def halves(scores: Array) -> tuple[Array, Array]:
    """Mean scores [n] over the even and over the odd episodes, equally many of each."""
    m = scores.shape[1] // 2 * 2
    return scores[:, :m:2].mean(axis=1), scores[:, 1:m:2].mean(axis=1)


def growth(scores: Array) -> Array:
    """Delta_sel of the best of k = 1..n, averaged over all sets of k of the n configurations.

    Scores [n, m] as in ``selection_optimism``; [n]. With normal scores and errors it grows as
    ``expected_maximum(k)``, about as the root of 2 log k.
    """
    n = len(scores)
    k = np.arange(1, n + 1)[:, None]
    # The i-th best of n is the best of C(n - i, k - 1) of the C(n, k) sets of k.
    i = np.arange(1, n + 1)
    weight = special.comb(n - i, k - 1) / special.comb(n, k)
    curves = []
    for picked, scored in (halves(scores), halves(scores)[::-1]):
        best_first = np.argsort(-picked, kind="stable")
        curves.append(weight @ (picked - scored)[best_first])
    return np.asarray(np.mean(curves, axis=0), dtype=np.float64)


def tail_excess(scores: Array) -> float:
    """How much more optimism the best of n has than normal growth from the best of sqrt(n).

    About 0 for normal scores and errors; above 0 the discrepancy between the halves has a heavier
    tail, the case of strong Goodhart (El-Mhamdi and Hoang 2024). In units of the score.
    """
    n = len(scores)
    start = max(2, round(n**0.5))
    curve = growth(scores)
    return float(curve[-1] - curve[start - 1] * expected_maximum(n) / expected_maximum(start))


def selection_table(panel: Panel) -> pd.DataFrame:
    """Selection among the learners and variants of a panel, in distribution.

    Columns: seed, n, value, gaussian, gain, excess; the score is minus the risk. Baselines and the
    oracle are not selected among. A seed needs two learners, all with the same episodes.
    """
    baselines = {
        panel.labels[r.id] for r in panel.records if r.key.learner in panel.protocol.baselines
    }
    inside = panel.scored["condition"] == IN_DISTRIBUTION
    inside &= ~panel.scored["label"].isin({ORACLE, *baselines})
    rows = []
    for seed, part in panel.scored[inside].groupby("seed"):
        scores = -part.pivot_table(index="label", columns="episode", values="risk").dropna(axis=1)
        if len(scores) > 1 and scores.shape[1] > 3:
            values = scores.to_numpy(np.float64)
            found = selection_optimism(values)
            excess = tail_excess(values)
            rows.append((seed, found.n, found.value, found.gaussian, found.gain, excess))
    return pd.DataFrame(rows, columns=["seed", "n", "value", "gaussian", "gain", "excess"])
