"""Leaks: scores that rest on a planted cue, or on episodes that were public."""

from __future__ import annotations

import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import named
from metabench.records import IN_DISTRIBUTION

INTACT, SWAPPED, PRIVATE = "cue-intact", "cue-swapped", "private"
KEYS = ["label", "condition", "level", "seed"]


def cue_gap(panel: Panel, without: Panel | None = None) -> pd.DataFrame:
    """Delta_cue: risk with the cue swapped between classes less risk with the cue as planted.

    Columns: label, condition (the swapped one), level, seed, value; paired by episode. With a panel
    of the same learners meta-trained ``without`` the cue, the same of the learner of the same label
    and seed is subtracted: what any learner loses when a mark moves is no reliance on it. A learner
    that the other panel lacks is left out.
    """
    intact = panel.scored[panel.scored["condition"].isin(named(panel, INTACT))]
    swapped = panel.scored[panel.scored["condition"].isin(named(panel, SWAPPED))]
    keys = ["label", "level", "seed", "episode"]
    start = intact[[*keys, "risk"]].rename(columns={"risk": "start"})
    pairs = swapped.merge(start, on=keys)
    gap = pairs.assign(value=pairs["risk"] - pairs["start"])
    table = gap.groupby(KEYS)["value"].mean().reset_index()
    if without is None:
        return table
    other = cue_gap(without).rename(columns={"value": "other"})
    both = table.merge(other, on=KEYS)
    return both.assign(value=both["value"] - both["other"])[[*KEYS, "value"]]


def public_gap(panel: Panel) -> pd.DataFrame:
    """Delta_pp: mean risk on private episodes of the same law less that on the public ones.

    Columns: label, condition, level, seed, value. The episodes differ, so they are not paired.
    """
    public = panel.scored[panel.scored["condition"] == IN_DISTRIBUTION]
    start = public.groupby(["label", "seed"])["risk"].mean().rename("start").reset_index()
    private = panel.scored[panel.scored["condition"].isin(named(panel, PRIVATE))]
    table = private.groupby(KEYS)["risk"].mean().reset_index().merge(start, on=["label", "seed"])
    return table.assign(value=table["risk"] - table["start"])[[*KEYS, "value"]]


ESTIMATORS.register("cue-gap")(
    Estimator(
        "Reliance on a cue (Delta_cue)",
        "Risk with the planted cue swapped between classes less risk with it intact, paired by "
        "episode, in units of the raw risk. 0 does not use it; lower is better.",
        cue_gap,
    )
)
ESTIMATORS.register("public-gap")(
    Estimator(
        "Public-private gap (Delta_pp)",
        "Risk on private episodes of the same law less risk on the public ones, in units of the "
        "raw risk. 0 for a learner that knows no episode; lower is better.",
        public_gap,
    )
)
