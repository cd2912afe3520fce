"""Numbers as a page shows, places and sorts them."""

from __future__ import annotations

import math
from typing import Any

from metabench.estimators import BreakEven
from metabench.reports.figures import SKILL_RANGE
from metabench.statistics import Interval, Place, number


def typeset(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, as wide as a digit."""
    return number(value, digits).replace("-", "−")


def sort_key(value: Any) -> str:
    """What a table's script sorts a cell by; nothing for what is missing, which goes last."""
    if isinstance(value, Interval):
        value = value.mean
    elif isinstance(value, Place):
        value = value.low + value.high / 1000
    elif isinstance(value, BreakEven):
        value = math.inf if value.level is None else value.level
    if value is None or math.isnan(value):
        return ""
    return repr(float(value)).replace("inf", "Infinity")


def across(value: float) -> float:
    """Place of a skill on a track, in percent of its width; outside is cut off at the edge."""
    low, high = SKILL_RANGE
    return round(100 * (min(max(value, low), high) - low) / (high - low), 2)


def outside(interval: Interval) -> str:
    """ "low" or "high" if the mean lies off the track, else nothing."""
    low, high = SKILL_RANGE
    if interval.mean < low:
        return "low"
    return "high" if interval.mean > high else ""
