"""Ranks of a panel's learners: sets that hold at once, among the pool at hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from metabench.estimators import IDENTIFIABLE, Panel
from metabench.records import IN_DISTRIBUTION, ORACLE, Record
from metabench.statistics import Place, rank_sets

UNRANKED = ("control", ORACLE)
"""Families that are no entrants."""


def seed_scores(panel: Panel, skills: pd.DataFrame, pool: Collection[str]) -> pd.DataFrame:
    """Skill of a pool by label (rows) and seed (columns), out of distribution where that is asked.

    The mean over the identifiable levels of each condition that is a world to do well in, then over
    conditions; in distribution for a suite without such conditions. Levels that somebody of the
    pool has no rows at, as who has no inner loop where that is turned, count for nobody.
    """
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    known = skills[(skills["status"] == IDENTIFIABLE) & skills["label"].isin(pool)]
    having = known.groupby(["condition", "level"])["label"].transform("nunique")
    known = known[having == known["label"].nunique()]
    shifted = known[known["condition"].isin(worlds)]
    if shifted.empty:
        shifted = known[known["condition"] == IN_DISTRIBUTION]
    by_condition = shifted.groupby(["label", "seed", "condition"])["skill"].mean()
    return by_condition.groupby(["label", "seed"]).mean().unstack()


def places(
    panel: Panel, skills: pd.DataFrame, records: Mapping[str, list[Record]]
) -> dict[str, Place]:
    """Label -> place. Inductive and transductive learners are ranked apart.

    A learner with a cell that failed, or without a skill, is unranked: it has no place here, and
    takes none from others.
    """
    scored = set(skills.loc[skills["status"] == IDENTIFIABLE, "label"])
    found: dict[str, Place] = {}
    for transductive in (False, True):
        pool = [
            label
            for label, own in records.items()
            if label in scored
            and own[0].learner.transductive == transductive
            and own[0].learner.family not in UNRANKED
            and all(r.status == "ok" for r in own)
        ]
        if pool:
            scores = seed_scores(panel, skills, pool).reindex(pool).to_numpy(np.float64)
            found |= dict(zip(pool, rank_sets(scores), strict=True))
    return found
