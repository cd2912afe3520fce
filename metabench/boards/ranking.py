"""Ranks of a panel's learners: sets that hold at once, among the pool at hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from metabench.estimators import IDENTIFIABLE, Panel
from metabench.records import IN_DISTRIBUTION, ORACLE, Record
from metabench.statistics import Place, rank_sets

UNRANKED = ("control", ORACLE)
"""Families that are no entrants."""


def seed_scores(panel: Panel, skills: pd.DataFrame) -> pd.DataFrame:
    """Skill by label (rows) and seed (columns), out of distribution where the suite asks for it.

    The mean over the identifiable levels of each condition that is a world to do well in, then over
    conditions; in distribution for a suite without such conditions.
    """
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    known = skills[skills["status"] == IDENTIFIABLE]
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
    scores = seed_scores(panel, skills)
    found: dict[str, Place] = {}
    for transductive in (False, True):
        pool = [
            label
            for label, own in records.items()
            if label in scores.index
            and own[0].learner.transductive == transductive
            and own[0].learner.family not in UNRANKED
            and all(r.status == "ok" for r in own)
        ]
        ranked = rank_sets(scores.loc[pool].to_numpy(np.float64)) if pool else []
        found |= dict(zip(pool, ranked, strict=True))
    return found
