"""What a score depends on, read off a Gaussian process that is fitted to a design."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import qmc

from metabench.errors import MetabenchError

Array = NDArray[np.float64]

DRAWS = 2**11
"""Sobol points at which a surrogate is read; a power of two."""
EACH = 64
"""Values of the knobs of a level, and of all others at each of these."""
FOLDS = 10
MIDDLE = (0.3, 3.0)
"""Lengths that neither ignore a knob nor see noise only."""


@dataclass(frozen=True)
class Surrogate:
    """A Gaussian process with one length a knob, for scores [P] over a design [P, K] in [0, 1]^K.

    The design is the declared prior's own quantiles, so that the prior is uniform.
    """

    model: Any
    design: Array
    scores: Array
    """Standardised."""
    explained: float
    """The share of the scores' variance that it predicts for points left out (ten parts); where
    that is small, what it says means little. NaN where all scores are the same."""

    def surface(self, x: Array) -> Array:
        """The standardised score at settings [n, K]."""
        return np.asarray(self.model.predict(x), dtype=np.float64)

    def resampled(self, draws: int, seed: int) -> Iterator[Surrogate]:
        """Fitted to points drawn anew, lengths included: how flat a knob is, is a guess as well."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor

        rng, start = np.random.default_rng(seed), self.model.kernel_
        # A length that starts at its bound would stay there; points drawn twice show no noise.
        start = start.clone_with_theta(start.theta).set_params(
            k1__k2__length_scale=np.clip(start.k1.k2.length_scale, *MIDDLE),
            k2__noise_level_bounds="fixed",
        )
        for _ in range(draws):
            pick = rng.integers(len(self.scores), size=len(self.scores))
            design, scores = self.design[pick], self.scores[pick]
            model = GaussianProcessRegressor(start)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(design, scores)
            yield Surrogate(model, design, scores, self.explained)


def fit(design: Array, scores: Array, seed: int = 0) -> Surrogate:
    """The process whose lengths are the likeliest. Raises MetabenchError without scikit-learn."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor, kernels
        from sklearn.model_selection import KFold, cross_val_predict
    except ImportError:
        raise MetabenchError(
            "Sobol indices need scikit-learn: pip install metabench[sklearn]"
        ) from None
    kernel = kernels.ConstantKernel() * kernels.RBF(
        np.ones(design.shape[1]), (0.05, 50.0)
    ) + kernels.WhiteKernel(0.1, (1e-6, 1e1))
    y = (scores - scores.mean()) / (scores.std() or 1.0)
    model = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=seed)
    with warnings.catch_warnings():
        # A knob without effect has its length at the bound.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(design, y)
    fixed = GaussianProcessRegressor(model.kernel_, optimizer=None)
    folds = KFold(min(FOLDS, len(y)), shuffle=True, random_state=seed)
    left_out = cross_val_predict(fixed, design, y, cv=folds)
    explained = 1 - float(((left_out - y) ** 2).mean()) if scores.std() > 0 else float("nan")
    return Surrogate(model, design, y, explained)


def sobol_indices(
    fitted: Surrogate, names: Sequence[str], drawn: Sequence[Surrogate], seed: int = 0
) -> pd.DataFrame:
    """First-order and total Sobol indices of the score (Saltelli et al. 2010).

    Columns: knob, first, total, low, high: the total's 95 % bootstrap interval over points, from
    the surrogates of ``resampled``. All 0 where every score is the same.
    """
    columns = ["first", "total", "low", "high"]
    if not fitted.scores.any():
        return pd.DataFrame({"knob": list(names), **dict.fromkeys(columns, 0.0)})
    rng = np.random.default_rng(seed)
    first, total = _indices(fitted, len(names), rng)
    totals = [_indices(one, len(names), rng)[1] for one in drawn]
    low, high = np.percentile(totals, [2.5, 97.5], axis=0)
    numbers = dict(zip(columns, (first, total, low, high), strict=True))
    return pd.DataFrame({"knob": list(names), **numbers})


def _indices(fitted: Surrogate, knobs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    if knobs == 1:
        return np.ones(1), np.ones(1)
    unit: Any = stats.uniform()
    found = stats.sobol_indices(
        func=lambda x: fitted.surface(x.T), n=DRAWS, dists=[unit] * knobs, random_state=rng
    )
    return np.asarray(found.first_order), np.asarray(found.total_order)


def effects(fitted: Surrogate, levels: Mapping[int, Sequence[int]]) -> dict[int, Array]:
    """Level -> scores [EACH] over its knobs (columns of the design), the mean over all others."""
    found = {}
    points = qmc.Sobol(2 * fitted.design.shape[1], seed=0).random(EACH)
    own, others = np.split(points, 2, axis=1)
    for level, columns in levels.items():
        settings = np.repeat(others[None], EACH, axis=0)
        settings[:, :, list(columns)] = own[:, None, list(columns)]
        flat = fitted.surface(settings.reshape(-1, settings.shape[2]))
        found[level] = flat.reshape(EACH, EACH).mean(axis=1)
    return found
