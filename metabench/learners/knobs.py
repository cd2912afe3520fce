"""Priors over the numbers that a learner leaves to be set by hand, declared on its card."""

from __future__ import annotations

from metabench.episodes import Kind
from metabench.records import Knob

BOTH: tuple[Kind, ...] = ("classification", "regression")
DECADE = 10.0
BATCH, WIDTH = 4.0, 2.0
"""How far a meta-batch and a width are taken from their default, as a factor."""


def around(
    field: str,
    default: float,
    factor: float,
    *kinds: Kind,
    least: float = 0.0,
    level: int | None = None,
) -> Knob:
    """Uniform in the logarithm, within a factor of the default, but not below ``least``."""
    low, high = (float(f"{v:.6g}") for v in (max(least, default / factor), default * factor))
    return Knob(field=field, low=low, high=high, log=True, level=level, kinds=kinds or BOTH)


def rate(field: str, default: float, level: int | None, *kinds: Kind) -> Knob:
    """A learning rate: a decade below and above its default."""
    return around(field, default, DECADE, *kinds, level=level)


def batch(field: str, default: int, *kinds: Kind) -> Knob:
    """Tasks a meta-step."""
    return around(field, default, BATCH, *kinds, least=1)


def width(field: str, default: int, *kinds: Kind) -> Knob:
    """Units of a layer."""
    return around(field, default, WIDTH, *kinds, least=1)


def steps(field: str) -> Knob:
    """Inner steps, 1 to 10."""
    return Knob(field=field, low=1, high=10)
