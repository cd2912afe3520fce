"""Over-optimisation along meta-training: the proxy goes on improving, the gold score turns.

The proxy is the risk on the tasks of meta-training, the gold the risk on new tasks of the same law,
both looked at along the checkpoints of one training (Gao et al. 2022, Scaling Laws for Reward Model
Overoptimization, whose unit of pressure is the distance from the initialisation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import named
from metabench.records import IN_DISTRIBUTION, ORACLE

Array = NDArray[np.float64]

SEEN, MARGINAL, DISPLACEMENT = "seen-tasks", "no-adaptation", "displacement"
TURN = 0.10
"""Share of its gain that a curve may lose before it counts as turned."""


def course(panel: Panel) -> pd.DataFrame:
    """What each training went through: one row a label, seed and checkpoint, in this order.

    Columns: label, seed, checkpoint (meta-steps), proxy (mean risk on seen tasks), gold (mean risk
    on new ones), even and odd (the gold of either half of the episodes), distance (root of the mean
    squared change of the predictions since checkpoint 0); NaN where there are no rows.
    """
    history = panel.history
    inside = history["condition"] == IN_DISTRIBUTION
    scored = history["risk"].notna()
    gold, moved = history[inside & scored], history[inside & (history["metric"] == DISPLACEMENT)]
    seen = history[history["condition"].isin(named(panel, SEEN)) & scored]
    odd = gold["episode"] % 2 == 1
    table = pd.DataFrame(
        {
            "proxy": _mean(seen, "risk"),
            "gold": _mean(gold, "risk"),
            "even": _mean(gold[~odd], "risk"),
            "odd": _mean(gold[odd], "risk"),
            "distance": _mean(moved, "value") ** 0.5,
        }
    )
    return table.rename_axis(["label", "seed", "checkpoint"]).sort_index().reset_index()


def _mean(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    steps = rows["checkpoint"].astype(int)
    return rows[column].astype(float).groupby([rows["label"], rows["seed"], steps]).mean()


def turnover(first: Array, second: Array, proxy: Array) -> float:
    """T: the share of gold's gain that is lost again while the proxy goes on improving.

    ``first`` and ``second`` [C] are the gold risks of two independent halves of the episodes,
    ``proxy`` [C] the proxy's, at the same checkpoints. The best checkpoint is picked on one half
    and scored on the other:

        T = (g_B(end) - g_B(t)) / (g_B(0) - g_B(t)),  t = argmin g_A

    Given the pick, numerator and denominator are unbiased for that checkpoint, which the true best
    can only exceed: no turnover is made up by picking a peak. Each is the mean over both roles of
    the halves, which keeps it unbiased; the ratio's own bias is of the order of 1 / episodes.

    A loss counts as negative where the proxy turned as well, by ``TURN`` of its own gain or more:
    then training failed, and the proxy did not deceive. So a proxy that has nothing to do with the
    gold gives a T about zero. NaN where the gold has no gain to lose.
    """
    lost = gained = 0.0
    for picked, scored in ((first, second), (second, first)):
        peak = int(np.argmin(picked))
        worse = proxy[-1] - proxy[peak]
        turned = worse > max(0.0, TURN * (proxy[0] - proxy[peak]))
        lost += (scored[-1] - scored[peak]) * (-1.0 if turned else 1.0)
        gained += scored[0] - scored[peak]
    return float(lost / gained) if gained > 0 else np.nan


def turnover_table(panel: Panel) -> pd.DataFrame:
    """T of every training with three checkpoints or more: label, condition, seed, value."""
    rows = []
    whole = course(panel).dropna(subset=["proxy", "even", "odd"])
    for (label, seed), path in whole.groupby(["label", "seed"]):
        if len(path) > 2 and path["checkpoint"].iloc[0] == 0:
            halves = (path[name].to_numpy(np.float64) for name in ("even", "odd", "proxy"))
            rows.append((label, IN_DISTRIBUTION, seed, turnover(*halves)))
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value"])


@dataclass(frozen=True)
class GainFit:
    """gain = d (alpha - beta d), pooled over seeds; ``t`` and ``p`` are beta's, None for 1 seed."""

    alpha: float
    beta: float
    t: float | None
    p: float | None
    """Of beta <= 0, one-sided."""
    furthest: float
    """The largest distance reached."""

    @property
    def best(self) -> float | None:
        """d* = alpha / (2 beta), where the gain is largest; None unless it was reached."""
        if self.beta <= 0 or self.alpha <= 0:
            return None
        best = self.alpha / (2 * self.beta)
        return best if best < self.furthest else None


def fit_gain(distance: Array, gain: Array, seed: Sequence[int] | NDArray[np.int64]) -> GainFit:
    """Least squares of gain [n] on d and -d^2 for distance [n], through the origin.

    The error of beta is clustered by seed (Liang and Zeger 1986), times J / (J - 1), with J - 1
    degrees of freedom (Cameron and Miller 2015). ``d`` and so alpha and beta are in the unit of the
    distance; t does not depend on it. Raises ValueError with fewer than two distances.
    """
    if len(np.unique(distance[distance > 0])) < 2:
        raise ValueError("a fit of two numbers needs two distances")
    x = np.stack([distance, -(distance**2)], axis=1)
    bread = np.linalg.inv(x.T @ x)
    alpha, beta = bread @ x.T @ gain
    residual = gain - x @ np.array([alpha, beta])
    clusters = np.unique(seed)
    t = p = None
    if len(clusters) > 1:
        scores = np.stack([x[seed == j].T @ residual[seed == j] for j in clusters])
        freedom = len(clusters) - 1
        covariance = bread @ scores.T @ scores @ bread * len(clusters) / freedom
        t = float(beta / np.sqrt(covariance[1, 1])) if covariance[1, 1] > 0 else None
        p = None if t is None else float(stats.t.sf(t, freedom))
    return GainFit(float(alpha), float(beta), t, p, float(distance.max()))


def gain_points(panel: Panel) -> pd.DataFrame:
    """Label, seed, checkpoint, distance, gain: how far each training went and what it won.

    The gain is the gold risk at checkpoint 0 less that of the checkpoint. The distance is in
    standard deviations of the target: the root of the oracle's mean risk without support, where
    the suite has it (role ``no-adaptation``), else in the unit of the predictions.
    """
    table = course(panel).dropna(subset=["gold", "distance"])
    start = table.loc[table["checkpoint"] == 0, ["label", "seed", "gold"]]
    table = table.merge(start.rename(columns={"gold": "start"}), on=["label", "seed"])
    rows = panel.scored
    apart = rows[(rows["label"] == ORACLE) & rows["condition"].isin(named(panel, MARGINAL))]
    variance = float(apart["risk"].mean()) if len(apart) else 1.0
    return table.assign(
        gain=table["start"] - table["gold"], distance=table["distance"] / np.sqrt(variance)
    )[["label", "seed", "checkpoint", "distance", "gain"]]


def gain_fits(panel: Panel) -> dict[str, GainFit]:
    """The fit of every learner that moved, pooled over its seeds."""
    return {
        str(label): fit_gain(*_columns(points))
        for label, points in gain_points(panel).groupby("label")
        if points.loc[points["distance"] > 0, "distance"].nunique() > 1
    }


def curvature_table(panel: Panel) -> pd.DataFrame:
    """beta of every training by itself: label, condition, seed, value."""
    rows = [
        (label, IN_DISTRIBUTION, seed, fit_gain(*_columns(points)).beta)
        for (label, seed), points in gain_points(panel).groupby(["label", "seed"])
        if points.loc[points["distance"] > 0, "distance"].nunique() > 1
    ]
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value"])


def _columns(points: pd.DataFrame) -> tuple[Array, Array, NDArray[np.int64]]:
    return (
        points["distance"].to_numpy(np.float64),
        points["gain"].to_numpy(np.float64),
        points["seed"].to_numpy(np.int64),
    )


ESTIMATORS.register("turnover")(
    Estimator(
        "Turnover (T)",
        "Share of the gain on new tasks that meta-training loses again while the risk on the "
        "tasks it trains on goes on falling: 0 keeps it all, 1 ends where it began. Lower is "
        "better.",
        turnover_table,
        digits=2,
    )
)
ESTIMATORS.register("gain-curvature")(
    Estimator(
        "Curvature of the gain (beta)",
        "gain = d (alpha - beta d) in the distance d of the predictions from the initialisation: "
        "above 0 the gain bends down. Lower is better.",
        curvature_table,
        digits=3,
    )
)
