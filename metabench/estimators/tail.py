"""Tail risk: how bad the worst episodes are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel


def cvar(risk: NDArray[np.float64], fraction: float = 0.1) -> float:
    """Mean of the worst ``fraction`` of the values (Rockafellar and Uryasev 2000).

    The value on the boundary has a fractional weight, so that n need not be a multiple of ten.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], found {fraction}")
    worst = np.sort(risk)[::-1]
    mass = fraction * len(worst)
    weight = np.clip(mass - np.arange(len(worst)), 0, 1)
    return float((worst * weight).sum() / mass)


def tail_risk(panel: Panel, fraction: float = 0.1) -> pd.DataFrame:
    """CVaR of the risk over episodes: label, condition, level, seed, value."""
    keys = ["label", "condition", "level", "seed"]
    parts = [(*at, cvar(r.to_numpy(), fraction)) for at, r in panel.scored.groupby(keys)["risk"]]
    return pd.DataFrame(parts, columns=[*keys, "value"])


ESTIMATORS.register("cvar10")(
    Estimator(
        "CVaR10",
        "Mean risk of the worst tenth of the episodes (1 - accuracy, or MSE). Lower is better.",
        tail_risk,
    )
)
