"""Effective robustness: skill elsewhere beyond what skill at home leads to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.skill import IDENTIFIABLE, skill_table
from metabench.records import IN_DISTRIBUTION, ORACLE

LEAST_LEARNERS = 5
"""With the one in question left out, four: a line and two degrees of freedom."""
LEAST_SPREAD = 0.05
"""Range of skill at home below which there is nothing to draw a line along; the floor of skill."""


@dataclass(frozen=True)
class Trend:
    """skill(elsewhere) = intercept + slope skill(home), over ``learners`` learners."""

    slope: float
    intercept: float
    learners: int


def trend(home: pd.Series[float], there: pd.Series[float]) -> Trend | str:
    """Least squares over learners (index), or in words why there is none."""
    if len(home) < LEAST_LEARNERS - 1:
        return f"a trend needs {LEAST_LEARNERS - 1} other learners, found {len(home)}"
    if float(home.max() - home.min()) < LEAST_SPREAD:
        return f"the other learners' skill at home lies within {LEAST_SPREAD}"
    fit = stats.linregress(home, there)
    return Trend(float(fit.slope), float(fit.intercept), len(home))


def effective_robustness(panel: Panel) -> pd.DataFrame:
    """Skill at a condition less what the trend of the other learners says, for every seed.

    Columns: label, condition, level, seed, value, learners, reason; where there is no trend the
    value is NaN and ``reason`` says why. After Taori et al. 2020 (arXiv:2007.00644), with skill,
    which needs no logit. A learner has no part in the line that it is compared with. Baselines, the
    oracle and the controls have none in any, and the first two no value: their skill is 0 and 1 by
    definition. The line is that of the means over seeds, so an interval over seeds is the
    learner's, with the line as given.
    """
    skills = skill_table(panel)
    skills = skills[skills["status"] == IDENTIFIABLE]
    family = {panel.labels[r.id]: r.learner.family for r in panel.records}
    baselines = {
        panel.labels[r.id] for r in panel.records if r.key.learner in panel.protocol.baselines
    }
    skills = skills[~skills["label"].isin({ORACLE, *baselines})]
    home = skills.loc[skills["condition"] == IN_DISTRIBUTION, ["label", "seed", "skill"]]
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    pairs = skills[skills["condition"].isin(worlds)].merge(
        home.rename(columns={"skill": "home"}), on=["label", "seed"]
    )
    rows = []
    for (condition, level), part in pairs.groupby(["condition", "level"]):
        means = part.groupby("label")[["home", "skill"]].mean()
        ordinary = means[[family.get(label) != "control" for label in means.index]]
        for label, own in part.groupby("label"):
            others = ordinary.drop(index=label, errors="ignore")
            line = trend(others["home"], others["skill"])
            for seed, at, skill in own[["seed", "home", "skill"]].itertuples(index=False):
                where = (label, condition, level, seed)
                if isinstance(line, str):
                    rows.append((*where, np.nan, len(others), line))
                else:
                    value = skill - line.intercept - line.slope * at
                    rows.append((*where, value, line.learners, ""))
    columns = ["label", "condition", "level", "seed", "value", "learners", "reason"]
    return pd.DataFrame(rows, columns=columns)


ESTIMATORS.register("effective-robustness")(
    Estimator(
        "Effective robustness",
        "Skill under a condition beyond what the trend of the other learners' skill there on their "
        "skill in distribution says: above 0 is more robust than its skill explains.",
        effective_robustness,
        digits=2,
    )
)
