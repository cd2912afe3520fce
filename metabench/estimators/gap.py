"""The out-of-distribution gap, paired by episode."""

from __future__ import annotations

import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.records import IN_DISTRIBUTION


def ood_gap(panel: Panel) -> pd.DataFrame:
    """Mean over episodes of risk(condition, level) - risk(in distribution), for every seed.

    Columns: label, condition, level, seed, value, pairs; in units of the risk. Conditions share
    their episodes' addresses with level 0, so the difference is taken within an episode; episodes
    that lack a partner are left out.
    """
    keys = ["label", "seed", "episode"]
    inside = panel.scored["condition"] == IN_DISTRIBUTION
    start = panel.scored.loc[inside, [*keys, "risk"]].rename(columns={"risk": "start"})
    rows = panel.scored[~inside].merge(start, on=keys)
    rows["gap"] = rows["risk"] - rows["start"]
    grouped = rows.groupby(["label", "condition", "level", "seed"], as_index=False)
    return grouped.agg(value=("gap", "mean"), pairs=("gap", "size"))


ESTIMATORS.register("ood-gap")(
    Estimator(
        "Out-of-distribution gap",
        "Risk minus the risk in distribution, paired by episode; in units of the raw risk "
        "(1 - accuracy, or MSE). Lower is better.",
        ood_gap,
    )
)
