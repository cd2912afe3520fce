"""Random polynomials: linear-Gaussian, with the Bayes predictor in closed form."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range
from metabench.tasks.functions import Array, FunctionFamily
from metabench.tasks.harmonics import linear_gaussian


@TASKS.register("polynomial")
class Polynomial(FunctionFamily):
    """y = sum_k w_k sqrt(2k + 1) P_k(t), k = 0..degree, t in [-1, 1] as x goes over the interval.

    P_k are Legendre's polynomials; w_k are independent from N(0, scale^2 / (degree + 1)), so that
    the mean square of y is scale^2. Axes: ``degree`` v; ``noise`` v: standard deviation of the
    support targets.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "random polynomials with a closed-form Bayes predictor"
    axes: ClassVar[tuple[str, ...]] = ("degree", "noise")

    scale: float = Field(default=2.06, gt=0, description="root mean square of y; as of sinusoids")
    degree: int = Field(default=4, ge=0, le=20)
    inputs: Range = (-5.0, 5.0)

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Standardised weights [BLOCK, degree + 1]; a higher degree adds to them."""
        return {"weights": draws("weights").standard_normal((self.degree + 1, draws.size)).T}

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """The polynomial at x."""
        weights = np.asarray(tasks["weights"], dtype=np.float64)
        return np.einsum("tnk,tk->tn", self._features(x), weights)

    def shifted(self, axis: str, value: float) -> Polynomial:
        """One axis moved."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: int(value) if axis == "degree" else value})

    def bayes(self, episodes: Episodes) -> Tensor:
        """The posterior mean."""
        f_support, f_query = (
            torch.from_numpy(self._features(x[..., 0].cpu().double().numpy()))
            for x in (episodes.support.x, episodes.query.x)
        )
        return linear_gaussian(f_support, f_query, episodes, self.noise)

    def _features(self, x: Array) -> Array:
        """[T, n] -> [T, n, degree + 1], scaled so that their weights are standard normal."""
        low, high = self.inputs
        t = (2 * x - (high + low)) / (high - low)
        k = np.arange(self.degree + 1)
        scale = self.scale * np.sqrt((2 * k + 1) / (self.degree + 1))
        return np.asarray(scale * legvander(t, self.degree), dtype=np.float64)
