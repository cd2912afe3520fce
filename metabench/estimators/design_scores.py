"""Scores of the settings of a design over a learner's knobs.

A score is skill in distribution. It goes no lower than that of the best prediction without
support, so that a few hopeless settings do not make all others look alike.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import marginal, room
from metabench.estimators.sensitivity import failed, near_best
from metabench.records import IN_DISTRIBUTION

Array = NDArray[np.float64]

DIVERGED = 10.0
"""Times the risk of the best prediction without support: who is beyond has diverged."""


def score_table(panel: Panel) -> pd.DataFrame:
    """Columns label, point, seed, half, score, guess: every setting of every learner.

    ``guess`` is the score of the best prediction without support; NaN where that is not known.

    The halves are the even and the odd episodes. The score is NaN where the training failed: its
    cell has no rows, or a risk ``DIVERGED`` times that of the best prediction without support,
    where the suite has that (role ``no-adaptation``). Nothing where skill is not identifiable.
    """
    columns = ["label", "point", "seed", "half", "score", "guess"]
    if not panel.settings:
        return pd.DataFrame(columns=columns)
    cells = pd.DataFrame(
        [
            (panel.label_of(r), r.learner.point, r.key.seed, half, r.id)
            for r in panel.settings
            for half in (0, 1)
        ],
        columns=[*columns[:4], "record"],
    )
    rows = panel.setting_rows
    rows = rows[(rows["condition"] == IN_DISTRIBUTION) & rows["risk"].notna()]
    halves = (rows["episode"].astype(int) % 2).rename("half")
    risk = rows["risk"].groupby([rows["record"], halves]).mean().reset_index()
    table = cells.merge(risk, "left", on=["record", "half"])
    table = table.merge(room(panel), "inner", on="seed").merge(marginal(panel), "left", on="seed")
    table = table[table["gain"].notna()]
    apart = table["marginal"].astype(float).fillna(np.inf)
    lost = ~(table["risk"].astype(float) <= DIVERGED * apart)
    base = table["oracle"] + table["gain"]
    guess = (base - apart) / table["gain"]
    score = ((base - table["risk"].astype(float)) / table["gain"]).clip(lower=guess)
    known = np.isfinite(guess)
    return table.assign(score=score.mask(lost), guess=guess.where(known))[columns]


def score_array(table: pd.DataFrame) -> Array:
    """A ``score_table`` of one label as scores [J, 2, P]: seeds by halves by points, in order.

    Raises ValueError where a seed lacks a point.
    """
    wide = table.pivot(index=["seed", "half"], columns="point", values="score")
    if wide.size != len(table) or len(wide) != 2 * table["seed"].nunique():
        raise ValueError("every seed needs every point and both halves")
    return wide.to_numpy(np.float64).reshape(-1, 2, wide.shape[1])


def _of_each_seed(panel: Panel, statistic: str) -> pd.DataFrame:
    """label, condition, seed, value of a statistic of one environment's scores."""
    known = {"v95": near_best, "failed-settings": failed}[statistic]
    rows = [
        (label, IN_DISTRIBUTION, seed, float(known(score_array(own))[0]))
        for (label, seed), own in score_table(panel).groupby(["label", "seed"])
    ]
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value"])


ESTIMATORS.register("v95")(
    Estimator(
        "Share of settings near the best (V95)",
        "Of random settings of the knobs, those that score at least 0.95 of the best, on a scale "
        "where the 5th and 95th percentile of the settings are 0 and 1. Higher is better.",
        partial(_of_each_seed, statistic="v95"),
        digits=2,
    )
)
ESTIMATORS.register("failed-settings")(
    Estimator(
        "Share of settings that fail",
        "Of random settings of the knobs, those whose training diverges, fails or takes too long. "
        "Lower is better.",
        partial(_of_each_seed, statistic="failed-settings"),
        digits=2,
    )
)
