"""Pure functions of the episode table."""

from metabench.estimators import drift, goodhart, leak, selection, sensitivity
from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.curve import Area, BreakEven, area_under_skill, break_even, severity_curve
from metabench.estimators.gap import ood_gap
from metabench.estimators.panel import Panel, levels_of, panels
from metabench.estimators.skill import IDENTIFIABLE, risk_table, skill_table
from metabench.estimators.tail import cvar, tail_risk

__all__ = [
    "ESTIMATORS",
    "IDENTIFIABLE",
    "Area",
    "BreakEven",
    "Estimator",
    "Panel",
    "area_under_skill",
    "break_even",
    "cvar",
    "drift",
    "goodhart",
    "leak",
    "levels_of",
    "ood_gap",
    "panels",
    "risk_table",
    "selection",
    "sensitivity",
    "severity_curve",
    "skill_table",
    "tail_risk",
]
