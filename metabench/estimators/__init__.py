"""Pure functions of the episode table."""

from metabench.estimators import (
    brittleness,
    design,
    drift,
    efficiency,
    goodhart,
    leak,
    overfitting,
    robustness,
    selection,
    sensitivity,
)
from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.curve import Area, BreakEven, area_under_skill, break_even, severity_curve
from metabench.estimators.design import Sensitivity, Spread, sensitivities
from metabench.estimators.flags import probe_table
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
    "Sensitivity",
    "Spread",
    "area_under_skill",
    "break_even",
    "brittleness",
    "cvar",
    "design",
    "drift",
    "efficiency",
    "goodhart",
    "leak",
    "levels_of",
    "ood_gap",
    "overfitting",
    "panels",
    "probe_table",
    "risk_table",
    "robustness",
    "selection",
    "sensitivities",
    "sensitivity",
    "severity_curve",
    "skill_table",
    "tail_risk",
]
