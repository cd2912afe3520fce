"""Leaks: scores that rest on a planted cue, or on episodes that were public."""

from __future__ import annotations

import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import named
from metabench.records import IN_DISTRIBUTION

INTACT, SWAPPED, PRIVATE = "cue-intact", "cue-swapped", "private"
UNCUED_INTACT, UNCUED_SWAPPED = "uncued-intact", "uncued-swapped"
"""The same marks, shown to learners that were meta-trained without the cue."""
KEYS = ["label", "condition", "level", "seed"]


def cue_gap(panel: Panel) -> pd.DataFrame:
    """Delta_cue: what a learner loses when the cue is swapped, less what it loses untrained to it.

    The loss is the risk with the cue swapped between classes less that with the cue as planted,
    paired by episode; the same of the learner of that label and seed in the source whose
    meta-training has no cue (roles ``uncued-intact``, ``uncued-swapped``) is subtracted. A mark
    that moves costs every learner that compares pixels: that is no reliance on a cue.

    Columns: label, condition (the swapped one), level, seed, value. A learner that was not
    meta-trained without the cue, or of whose seed that is missing, has no rows.
    """
    found = swap_loss(panel, INTACT, SWAPPED)
    without = [swap_loss(p, UNCUED_INTACT, UNCUED_SWAPPED) for p in panel.siblings]
    other = pd.concat([found.head(0), *without]).groupby(["label", "seed"])["value"].mean()
    both = found.merge(other.rename("other").reset_index(), on=["label", "seed"])
    return both.assign(value=both["value"] - both["other"])[[*KEYS, "value"]]


def swap_loss(panel: Panel, intact: str, swapped: str) -> pd.DataFrame:
    """Mean risk at conditions of role ``swapped`` less that at ``intact``, of the same episodes.

    Columns: label, condition, level, seed, value.
    """
    before = panel.scored[panel.scored["condition"].isin(named(panel, intact))]
    after = panel.scored[panel.scored["condition"].isin(named(panel, swapped))]
    keys = ["label", "level", "seed", "episode"]
    start = before[[*keys, "risk"]].rename(columns={"risk": "start"})
    pairs = after.merge(start, on=keys)
    pairs = pairs.assign(value=pairs["risk"] - pairs["start"])
    return pairs.groupby(KEYS)["value"].mean().reset_index()


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
        "Risk with the planted cue swapped between classes less risk with it intact, beyond that "
        "of the same learner meta-trained without the cue, in units of the raw risk. 0 does not "
        "rely on it; lower is better.",
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
