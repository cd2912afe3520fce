"""Settings of a learner's knobs: the Sobol points of a suite that asks how much they matter."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache
from typing import Any, get_args

from numpy.typing import NDArray
from scipy.stats import qmc

from metabench.episodes import Kind
from metabench.learners.build import LearnerClass, parameter_model
from metabench.records import Knob, Parameter

SEED = 0
"""Of the scrambling: the points are the same for every source, meta-seed and machine."""
DIGITS = 4
"""Of a value that is not whole."""


def varied(learner: LearnerClass, kind: Kind, fixed: Collection[str]) -> tuple[Knob, ...]:
    """The knobs that hold for this kind of task, but for those that somebody has fixed."""
    return tuple(knob for knob in learner.card.knobs_of(kind) if knob.field not in fixed)


def settings(
    learner: LearnerClass, kind: Kind, fixed: Collection[str], points: int
) -> list[dict[str, Parameter]]:
    """``points`` settings of the knobs, scrambled Sobol points (Owen 1998) of their prior.

    ``points`` is a power of two. A knob has its own coordinate of the points, whether or not
    others are fixed.
    """
    knobs = learner.card.knobs_of(kind)
    whole = {k.field for k in knobs if _whole(learner, k.field)}
    return [
        {
            knob.field: value_of(knob, float(unit), knob.field in whole)
            for knob, unit in zip(knobs, row, strict=True)
            if knob.field not in fixed
        }
        for row in (_sobol(len(knobs), points) if knobs else [])
    ]


def value_of(knob: Knob, unit: float, whole: bool) -> Parameter:
    """The prior's quantile; between whole numbers each has an equal share, logarithms apart."""
    if not whole:
        return float(f"{knob.quantile(unit):.{DIGITS}g}")
    if knob.log:
        return max(math.ceil(knob.low), round(knob.quantile(unit)))
    return int(min(knob.high, knob.low + math.floor(unit * (knob.high - knob.low + 1))))


@cache
def _sobol(dimensions: int, points: int) -> NDArray[Any]:
    return qmc.Sobol(dimensions, scramble=True, seed=SEED).random_base2(points.bit_length() - 1)


def _whole(learner: LearnerClass, field: str) -> bool:
    """Whether the hyper-parameter takes whole numbers only."""
    annotation = parameter_model(learner).model_fields[field].annotation
    return not _mentions(annotation, float)


def _mentions(annotation: object, kind: type) -> bool:
    return annotation is kind or any(_mentions(part, kind) for part in get_args(annotation))
