"""One thing that was asked, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from metabench.estimators import IDENTIFIABLE, Panel
from metabench.gate.choosing import records_of
from metabench.gate.decision import Status
from metabench.statistics import Interval, number

LEVEL = 0.95
"""Of every one-sided bound that is not of a difference."""
Numbers = dict[str, float | int | str | None]


@dataclass(frozen=True)
class Check:
    """One thing that was asked, and the evidence."""

    place: str
    """Suite and source."""
    name: str
    kind: str
    """"difference", "cells", "probe", "skill", "break-even", "gap" or "harm"."""
    status: Status
    evidence: str
    """Value, bounds, threshold and seeds, in words."""
    numbers: Numbers = field(default_factory=dict)


def worst(statuses: Sequence[Status]) -> Status:
    """Of several, the one that decides."""
    order: tuple[Status, ...] = ("broken", "regression", "undecided", "pass", "skipped")
    return min(statuses, key=order.index, default="skipped")


def label_in(panel: Panel, learner: str) -> str:
    """What the panel calls the learner."""
    return panel.label_of(records_of(panel, learner)[0])


def held(bounds: Interval, limit: float, lenient: bool = False) -> Status:
    """Shown to hold, shown not to hold, or undecided; lenient: what is not shown to fail holds."""
    low, high = finite(bounds.low), finite(bounds.high)
    if low is None or high is None:
        return "undecided"
    if high < limit:
        return "regression"
    return "pass" if lenient or low >= limit else "undecided"


def span(bounds: Interval) -> str:
    """Mean and one-sided bounds, in words."""
    if bounds.low is None or bounds.high is None:
        return f"{number(bounds.mean, 3)} (1 seed: no interval, so nothing can be decided)"
    return (
        f"{number(bounds.mean, 3)}, one-sided 95 % bounds {number(bounds.low, 3)} and "
        f"{number(bounds.high, 3)}, {bounds.seeds} seeds"
    )


def numbers_of(bounds: Interval, limit: float) -> Numbers:
    """The same for another program."""
    ends = {"mean": finite(bounds.mean), "low": finite(bounds.low), "high": finite(bounds.high)}
    return {**ends, "limit": limit, "seeds": bounds.seeds}


def skills_of(own: pd.DataFrame, condition: str, level: int) -> tuple[list[float], str]:
    """One value a seed, or why there are none."""
    rows = own[(own["condition"] == condition) & (own["level"] == level)]
    known = rows[rows["status"] == IDENTIFIABLE]
    if known.empty:
        return [], "not scored" if rows.empty else str(rows["status"].iloc[0])
    return known["skill"].astype(float).tolist(), ""


def place_of(panel: Panel) -> str:
    """Suite and source."""
    return f"{panel.suite}/{panel.source}"


def finite(value: float | None) -> float | None:
    """The number; None for what is none."""
    return None if value is None or not np.isfinite(value) else float(value)
