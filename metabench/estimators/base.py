"""The registry of estimators: pure functions from a panel to one number a seed and cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from metabench.estimators.panel import Panel
from metabench.registry import Registry


@dataclass(frozen=True)
class Estimator:
    """A quantity computed from the episode table.

    ``compute`` returns a frame with the columns label, condition, seed and value, and level unless
    the quantity belongs to a whole condition. NaN is a value that is not defined; a column
    ``censored`` says "above" or "below" where the true value lies there, else "".
    """

    title: str
    meaning: str
    """One sentence: what it measures, in which unit, and which way is better."""
    compute: Callable[[Panel], pd.DataFrame]
    digits: int = 3
    log: bool = False
    """Whether means and bounds over seeds are of the logarithm: a ratio or a count above 0."""


ESTIMATORS: Registry[Estimator] = Registry("estimator", "metabench.estimators")
