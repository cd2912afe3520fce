"""Skill against severity: the area under it, and where it meets zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel, levels_of
from metabench.estimators.skill import IDENTIFIABLE, skill_table
from metabench.records import IN_DISTRIBUTION
from metabench.statistics import t_interval

LEAST_SKILL = 0.05
"""Skill at level 0 below which a ratio to it says nothing; the floor of identifiability."""


def severity_curve(
    skills: pd.DataFrame, label: str, condition: str, value: str = "skill"
) -> pd.DataFrame:
    """Identifiable skill of one learner, levels [rows] by seeds [columns], level 0 first.

    ``value`` is the column: "skill" for means over seeds, "own" for what is cut off first.
    Levels that are not identifiable, or lack a seed, are left out.
    """
    rows = skills[
        (skills["label"] == label)
        & skills["condition"].isin([condition, IN_DISTRIBUTION])
        & (skills["status"] == IDENTIFIABLE)
    ]
    return rows.pivot_table(index="level", columns="seed", values=value).dropna()


@dataclass(frozen=True)
class Area:
    """The area under skill (AUS) of one learner and condition.

    ``values`` has one number a seed over ``levels`` identifiable levels, level 0 included; it is
    None where the area is not defined, and ``reason`` says why.
    """

    values: dict[int, float] | None
    levels: int
    reason: str | None = None


def area_under_skill(curve: pd.DataFrame) -> Area:
    """AUS of each seed: mean over levels of clip(Sk, -1, 1), divided by Sk at level 0.

    1 keeps all skill at every level. Not defined where some seed's skill at level 0 is at most
    ``LEAST_SKILL``: a ratio to nothing.
    """
    levels = len(curve)
    if 0 not in curve.index:
        return Area(None, levels, "skill in distribution is unknown")
    if levels < 2:
        return Area(None, levels, "no level is identifiable")
    if bool((curve.loc[0] <= LEAST_SKILL).any()):
        return Area(None, levels, f"skill in distribution is at most {LEAST_SKILL}")
    area = curve.clip(-1, 1).mean(axis=0) / curve.loc[0]
    seeds = [int(str(seed)) for seed in curve.columns]
    numbers = np.asarray(area, dtype=np.float64).tolist()
    return Area(dict(zip(seeds, numbers, strict=True)), levels)


def aus_table(panel: Panel) -> pd.DataFrame:
    """AUS: label, condition, seed, value, levels; conditions with one level have none."""
    skills = skill_table(panel)
    rows = []
    for condition in panel.protocol.conditions:
        if levels_of(condition) < 2:
            continue
        for label in sorted(skills["label"].unique()):
            area = area_under_skill(severity_curve(skills, label, condition.name, "own"))
            rows += [
                (label, condition.name, seed, value, area.levels)
                for seed, value in (area.values or {}).items()
            ]
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value", "levels"])


@dataclass(frozen=True)
class BreakEven:
    """The level at which skill meets zero; ``None`` where it does not by the last level.

    ``low`` and ``high`` bound it; a ``high`` of None is censored at ``last``. With one seed
    ``interval`` is False.
    """

    level: float | None
    low: float | None
    high: float | None
    last: float
    interval: bool

    def text(self) -> str:
        """``2.3 [1.9, 3.0]``; beyond the last level, ``> 5``."""

        def bound(value: float | None) -> str:
            return f"> {self.last:g}" if value is None else f"{value:.1f}"

        if not self.interval or self.level == self.low == self.high:
            return bound(self.level)
        return f"{bound(self.level)} [{bound(self.low)}, {bound(self.high)}]"


def break_even(curve: pd.DataFrame) -> BreakEven | None:
    """s* = inf{s : Sk(s) < 0} on the mean curve, with linear interpolation between levels.

    The interval holds the levels at which zero skill is not rejected: it reaches from where the
    lower t-bound of skill first falls below zero to where the upper one does (a test inverted, as
    in Fieller 1954). A percentile bootstrap of a few seeds would cover far less than it says.
    None without level 0 and one more.
    """
    if len(curve) < 2 or 0 not in curve.index:
        return None
    levels = curve.index.to_numpy(dtype=np.float64)
    intervals = [t_interval(list(row)) for row in curve.to_numpy(dtype=np.float64)]
    mean = crossing(levels, [i.mean for i in intervals])
    last = float(levels[-1])
    if curve.shape[1] == 1:
        return BreakEven(mean, None, None, last, interval=False)
    low = crossing(levels, [i.mean if i.low is None else i.low for i in intervals])
    high = crossing(levels, [i.mean if i.high is None else i.high for i in intervals])
    return BreakEven(mean, low, high, last, interval=True)


def crossing(levels: NDArray[np.float64], values: Sequence[float]) -> float | None:
    """The first level at which the interpolated values fall below zero; None if none does."""
    if values[0] < 0:
        return float(levels[0])
    for i in range(1, len(values)):
        before, after = values[i - 1], values[i]
        if after < 0:
            share = before / (before - after)
            return float(levels[i - 1] + share * (levels[i] - levels[i - 1]))
    return None


ESTIMATORS.register("aus")(
    Estimator(
        "Area under skill (AUS)",
        "Mean of skill, cut to [-1, 1], over the identifiable levels, divided by skill in "
        "distribution: 1 keeps all of it. Undefined where there is next to none to keep.",
        aus_table,
        digits=2,
    )
)
