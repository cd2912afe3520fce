"""Sensitivity to hyper-parameters that somebody has to set.

``scores`` is an array [E, 2, P]: environments (task families) by halves of the evaluation by points
(settings of the hyper-parameters), higher is better, NaN where a training failed. A setting is
chosen on half 0 and scored on half 1: the largest of many noisy scores is too large.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from metabench.errors import MetabenchError
from metabench.estimators.panel import Panel
from metabench.records import IN_DISTRIBUTION

Array = NDArray[np.float64]

NEAR_BEST = 0.95
PERCENTILES = (5, 95)
"""Of an environment's scores, which become 0 and 1."""
DRAWS = 2**11
"""Sobol points at which a surrogate is read; a power of two."""


def score_table(panels: Sequence[Panel], learner: str) -> pd.DataFrame:
    """Columns environment, point, seed, half, score: minus the risk in distribution.

    For the variants of one learner: an environment is a source of a suite, a point a label, the
    halves are the even and the odd episodes. A cell that failed has NaN in both.
    """
    parts = []
    for panel in panels:
        cells = pd.DataFrame(
            [
                (f"{panel.suite}/{panel.source}", panel.label_of(record), record.key.seed, half)
                for record in panel.records
                if record.key.learner == learner
                for half in (0, 1)
            ],
            columns=["environment", "point", "seed", "half"],
        )
        rows = panel.scored[panel.scored["condition"] == IN_DISTRIBUTION]
        halves = (rows["episode"] % 2).rename("half")
        risk = rows["risk"].groupby([rows["label"], rows["seed"], halves]).mean()
        score = -risk.rename_axis(["point", "seed", "half"]).rename("score")
        parts.append(cells.merge(score.reset_index(), "left", on=["point", "seed", "half"]))
    return pd.concat(parts, ignore_index=True)


def score_array(table: pd.DataFrame) -> Array:
    """A ``score_table`` as scores [E, 2, P], the mean over seeds; one failed seed fails a point.

    Environments and points are in sorted order. Raises ValueError where one lacks a point.
    """
    mean = table.groupby(["environment", "half", "point"])["score"].agg(
        lambda seeds: seeds.mean(skipna=False)
    )
    wide = mean.unstack("point")
    if mean.size != wide.size or len(wide) != 2 * len(wide.groupby("environment")):
        raise ValueError("every environment needs every point and both halves")
    return wide.to_numpy(np.float64).reshape(-1, 2, wide.shape[1])


def gamma(scores: Array) -> Array:
    """Scores [E, 2, P] on one scale: the 5th and 95th percentile of an environment are 0 and 1.

    After Adkins et al. 2024, section 3. A training that failed has the least score of its
    environment; where all are equal, every score is 1.
    """
    worst = np.nanmin(scores, axis=(1, 2), keepdims=True)
    whole = np.where(np.isnan(scores), worst, scores)
    low, high = np.percentile(whole.mean(axis=1, keepdims=True), PERCENTILES, axis=2, keepdims=True)
    room = high - low
    return np.where(room > 0, (whole - low) / np.where(room > 0, room, 1.0), 1.0)


def phi(scores: Array) -> float:
    """Phi = mean_e max_h Gamma(e, h) - max_h mean_e Gamma(e, h).

    What tuning to every environment wins over one setting for all (Adkins et al. 2024, equation 3);
    both settings are chosen on half 0. Always 0 with one environment.
    """
    chosen, scored = gamma(scores).swapaxes(0, 1)
    each = scored[np.arange(len(scored)), chosen.argmax(axis=1)].mean()
    return float(each - scored[:, chosen.mean(axis=0).argmax()].mean())


def near_best(scores: Array) -> Array:
    """V95 [E]: the share of settings whose score is at least 0.95 of the best one's.

    Which setting is best is chosen on half 0; it and all others are scored on half 1.
    """
    chosen, scored = gamma(scores).swapaxes(0, 1)
    best = scored[np.arange(len(scored)), chosen.argmax(axis=1)]
    # 0.95 of a best score below 0, which noise can make, would be above it.
    bar = np.minimum(NEAR_BEST * best, best)
    return np.asarray((scored >= bar[:, None]).mean(axis=1), dtype=np.float64)


def failed(scores: Array) -> Array:
    """[E]: the share of settings with a training that failed."""
    return np.asarray(np.isnan(scores).any(axis=1).mean(axis=1), dtype=np.float64)


def termination_ratio(lower: Array, upper: Array) -> float:
    """rho_k: interquartile range of scores [P'] over level k + 1, by that [P] over level k.

    Level 0 is the inner learning rate, 1 the meta-learning rate, 2 the rate of that rate. Below 1
    the higher level matters less: the tower of hand-set numbers may end there. NaN where the lower
    level makes no difference at all.
    """
    quartiles = np.percentile(lower, [25, 75]), np.percentile(upper, [25, 75])
    below, above = (float(high - low) for low, high in quartiles)
    return above / below if below > 0 else float("nan")


def over_points(
    statistic: Callable[..., float], *scores: Array, draws: int = 999, seed: int = 0
) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval over points, the last axis of each array.

    It says how far the design's own chance goes, within the environments and seeds at hand; for
    others, take a t-interval over those. Arrays are resampled independently.
    """
    rng = np.random.default_rng(seed)
    values = [
        statistic(*(s[..., rng.integers(s.shape[-1], size=s.shape[-1])] for s in scores))
        for _ in range(draws)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def sobol_indices(
    design: Array, scores: Array, names: Sequence[str], draws: int = 50, seed: int = 0
) -> pd.DataFrame:
    """First-order and total Sobol indices of a score [P] over a design [P, K] in [0, 1]^K.

    The design is the declared prior's own quantiles, so that the prior is uniform. The indices
    (Saltelli et al. 2010) are those of a Gaussian process with one length a knob, fitted to the
    points. Columns: knob, first, total, low, high, explained: the total's 95 % bootstrap interval
    over points, with the process's lengths held, and the share of the score's variance that the
    process predicts for points left out (ten parts); where that is small the indices say little.
    Raises MetabenchError without scikit-learn.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor, kernels
        from sklearn.model_selection import KFold, cross_val_predict
    except ImportError:
        raise MetabenchError(
            "Sobol indices need scikit-learn: pip install metabench[sklearn]"
        ) from None
    kernel = kernels.ConstantKernel() * kernels.RBF(
        np.ones(len(names)), (0.05, 50.0)
    ) + kernels.WhiteKernel(0.1, (1e-6, 1e1))
    y = (scores - scores.mean()) / (scores.std() or 1.0)
    whole = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=seed)
    with warnings.catch_warnings():
        # A knob without effect has its length at the bound.
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole.fit(design, y)
    fixed = GaussianProcessRegressor(whole.kernel_, optimizer=None)
    left_out = cross_val_predict(fixed, design, y, cv=KFold(10, shuffle=True, random_state=seed))
    rng = np.random.default_rng(seed)
    first, total = _indices(whole, len(names), rng)
    resampled = []
    for _ in range(draws):
        pick = rng.integers(len(y), size=len(y))
        resampled.append(_indices(fixed.fit(design[pick], y[pick]), len(names), rng)[1])
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    explained = 1 - float(((left_out - y) ** 2).mean())
    return pd.DataFrame(
        {"knob": list(names), "first": first, "total": total, "low": low, "high": high}
    ).assign(explained=explained)


def _indices(model: object, knobs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    def surface(x: Array) -> Array:
        return np.asarray(model.predict(x.T), dtype=np.float64)  # type: ignore[attr-defined]

    unit: Any = stats.uniform()
    found = stats.sobol_indices(func=surface, n=DRAWS, dists=[unit] * knobs, random_state=rng)
    return np.asarray(found.first_order), np.asarray(found.total_order)
