"""Skill: every metric on one scale, 0 the best per-task baseline, 1 the oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.records import ORACLE

IDENTIFIABLE = "ok"
CELL = ["condition", "level"]


def risk_table(panel: Panel) -> pd.DataFrame:
    """Mean risk over episodes: label, condition, level, seed, risk."""
    keys = ["label", *CELL, "seed"]
    return panel.scored.groupby(keys)["risk"].mean().reset_index()


def skill_table(panel: Panel) -> pd.DataFrame:
    """Sk = (R_base - R) / (R_base - R_oracle), one row per (label, condition, level, seed).

    Columns: label, condition, level, seed, risk, base, base_risk, oracle_risk, skill, own, status.
    ``base`` is the declared baseline with the least mean risk over seeds in that condition and
    level; its risk of the same seed, on the same episodes, is R_base. R_oracle is the Bayes
    predictor's risk of that seed, or the declared ceiling's. A learner's skill is the ratio of the
    means over seeds, and a seed's the value of ``linearised``: a mean of ratios would be that of
    the seed with the least room. ``own`` is the ratio of the seed alone: what is trimmed or cut off
    before seeds are compared needs values that share nothing. Where the mean over seeds of
    R_base - R_oracle is below the protocol's floor, or some seed's is not positive, no learner can
    be told from another: the status is "unidentifiable" for every seed and skill is NaN, as it is
    with "no baseline" and "no oracle".
    """
    risk = risk_table(panel)
    table = risk.merge(_base(panel, risk), on=[*CELL, "seed"], how="left")
    table = table.merge(_oracle(panel, risk), on=[*CELL, "seed"], how="left")
    gap = (table["base_risk"] - table["oracle_risk"]).astype(float)
    seeds = table.assign(gap=gap).drop_duplicates([*CELL, "seed"])
    room = seeds.groupby(CELL)["gap"].agg(["mean", "min"]).reset_index()
    room = table[CELL].merge(room, on=CELL, how="left")
    table["status"] = np.select(
        [
            table["base_risk"].isna(),
            table["oracle_risk"].isna(),
            ((room["mean"] < panel.protocol.floor) | (room["min"] <= 0)).to_numpy(),
        ],
        ["no baseline", "no oracle", "unidentifiable"],
        IDENTIFIABLE,
    )
    known = table["status"] == IDENTIFIABLE
    gain = (table["base_risk"] - table["risk"]).astype(float).where(known)
    table["own"] = gain / gap.where(gap > 0)
    table["skill"] = linearised(gain, gap.where(known), [table[key] for key in ["label", *CELL]])
    return table


def linearised(gain: pd.Series, room: pd.Series, keys: list[pd.Series]) -> pd.Series:
    """One value a seed, whose mean over the seeds of a group is r = sum(gain) / sum(room).

    r + (gain_j - r room_j) / mean(room): the spread over seeds is that of the ratio to first order
    (Cochran 1977, section 6.4). Where gain_j = room_j it is 1 and where gain_j = 0 it is 0.
    """
    mean = room.groupby(keys).transform("mean")
    ratio = gain.groupby(keys).transform("mean") / mean
    return ratio + (gain - ratio * room) / mean


def _base(panel: Panel, risk: pd.DataFrame) -> pd.DataFrame:
    """(condition, level, seed) -> base, base_risk."""
    allowed = {
        panel.labels[r.id] for r in panel.records if r.key.learner in panel.protocol.baselines
    }
    rows = risk[risk["label"].isin(allowed)]
    # Only baselines with every seed are candidates: the best must be the best of the same seeds.
    count = rows.groupby([*CELL, "label"])["seed"].transform("nunique")
    most = count.groupby([rows[c] for c in CELL]).transform("max")
    rows = rows[count == most]
    mean = rows.groupby([*CELL, "label"], as_index=False)["risk"].mean()
    best = mean.loc[mean.groupby(CELL)["risk"].idxmin(), [*CELL, "label"]]
    chosen = rows.merge(best, on=[*CELL, "label"])
    return chosen.rename(columns={"label": "base", "risk": "base_risk"})


def _oracle(panel: Panel, risk: pd.DataFrame) -> pd.DataFrame:
    """(condition, level, seed) -> oracle_risk."""
    if panel.protocol.oracle == "declared":
        ceiling = panel.protocol.ceiling
        best = np.nan if ceiling is None else ceiling
        cells = risk[[*CELL, "seed"]].drop_duplicates()
        declared = 1 - best if panel.protocol.metric == "accuracy" else best
        return cells.assign(oracle_risk=declared)
    rows = risk[risk["label"] == ORACLE]
    return rows[[*CELL, "seed", "risk"]].rename(columns={"risk": "oracle_risk"})


ESTIMATORS.register("skill")(
    Estimator(
        "Skill",
        "0 is the best per-task baseline, 1 the oracle; higher is better.",
        lambda panel: skill_table(panel).rename(columns={"skill": "value"}),
        digits=2,
    )
)
