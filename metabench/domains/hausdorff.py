"""The modified Hausdorff distance as a one-shot classifier of drawn characters.

It learns nothing and is the floor that Lake et al. 2015 compare with: an error of 38.75 % on their
20 one-shot runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from metabench.tasks.one_shot_runs import RUNS, drawings

Array = NDArray[np.float64]


def modified_hausdorff(a: Array, b: Array) -> float:
    """Distance of two sets of points [n, 2] and [m, 2] (Dubuisson and Jain 1994, d_6 with f_2).

    The larger of the two mean distances from a point of one set to the nearest of the other.
    Raises ValueError where a set is empty.
    """
    if not (len(a) and len(b)):
        raise ValueError("a set of points is empty")
    from_a, from_b = (np.asarray(KDTree(v).query(u)[0]) for u, v in ((a, b), (b, a)))
    return float(max(from_a.mean(), from_b.mean()))


def ink_points(image: NDArray[np.bool_]) -> Array:
    """Row and column of every inked pixel, less their mean [n, 2]."""
    points = np.argwhere(image).astype(np.float64)
    return np.asarray(points - points.mean(axis=0))


def classify(support: list[Array], queries: list[Array]) -> NDArray[np.int64]:
    """The nearest support item of each query; the first of equally near ones."""
    distances = [[modified_hausdorff(q, s) for s in support] for q in queries]
    return np.asarray(np.argmin(distances, axis=1), dtype=np.int64)


def one_shot_errors(runs: Sequence[int] = range(RUNS)) -> Array:
    """Share of wrong answers in each of Lake's runs, on the drawings as they are.

    Raises MetabenchError without the data.
    """
    (items, labels), (queries, answers) = drawings("support", ink), drawings("query", ink)
    errors = []
    for r in runs:
        nearest = classify([ink_points(i) for i in items[r]], [ink_points(q) for q in queries[r]])
        errors.append((labels[r][nearest] != answers[r]).mean())
    return np.array(errors, dtype=np.float64)


def ink(image: Any) -> NDArray[np.bool_]:
    """Where a picture with ink 0 on white has ink."""
    return np.asarray(~np.asarray(image, dtype=np.bool_))
