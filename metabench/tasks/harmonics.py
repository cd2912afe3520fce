"""Random harmonic series: linear-Gaussian, with the Bayes predictor in closed form."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range
from metabench.tasks.functions import Array, FunctionFamily

HARMONICS = 8


@TASKS.register("harmonics")
class Harmonics(FunctionFamily):
    """y = sum_k a_k sin(k x) + b_k cos(k x), k = 1..8, with (a_k, b_k) normal, variance L_k.

    L_k is proportional to exp(-(k - 1 - centre)^2 / (2 width^2)) and sums to scale^2, the
    variance of y. Axes: ``frequency`` v: centre = v; ``amplitude`` v: scale = v; ``inputs`` v: x
    uniform on [-pi + v, pi + v], a whole period still, so no harder; ``noise`` v: standard
    deviation of the support targets. There is no phase axis: the prior is the same at every phase.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "random harmonic series with a closed-form Bayes predictor"
    axes: ClassVar[tuple[str, ...]] = ("frequency", "amplitude", "inputs", "noise")

    centre: float = 0.0
    width: float = Field(default=0.7, gt=0)
    scale: float = Field(default=1.0, gt=0)
    inputs: Range = (-float(np.pi), float(np.pi))
    noise: float = Field(default=0.2, ge=0)

    def variances(self) -> Array:
        """L_k of k = 1..8."""
        k = np.arange(HARMONICS)
        spectrum = np.exp(-((k - self.centre) ** 2) / (2 * self.width**2))
        return np.asarray(self.scale**2 * spectrum / spectrum.sum(), dtype=np.float64)

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Standard normal weights [BLOCK, 16]; ``evaluate`` gives them their variances."""
        return {"weights": draws("weights").standard_normal((draws.size, 2 * HARMONICS))}

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """The series at x."""
        weights = np.asarray(tasks["weights"], dtype=np.float64) * self._deviations()
        return np.einsum("tnf,tf->tn", _features(torch.from_numpy(x)).numpy(), weights)

    def shifted(self, axis: str, value: float) -> Harmonics:
        """One axis moved."""
        change: dict[str, dict[str, object]] = {
            "frequency": {"centre": value},
            "amplitude": {"scale": value},
            "inputs": {"inputs": (self.inputs[0] + value, self.inputs[1] + value)},
            "noise": {"noise": value},
        }
        if axis not in change:
            super().shifted(axis, value)
        return self.model_copy(update=change[axis])

    def bayes(self, episodes: Episodes) -> Tensor:
        """The posterior mean."""
        scale = torch.from_numpy(self._deviations())
        f_support, f_query = (
            _features(x.double().squeeze(-1)) * scale
            for x in (episodes.support.x, episodes.query.x)
        )
        return linear_gaussian(f_support, f_query, episodes, self.noise)

    def prior_mean(self, episodes: Episodes) -> Tensor:
        """Zero, but of a finite set."""
        return super().prior_mean(episodes) if self.tasks else torch.zeros_like(episodes.query_y)

    def features(self, x: Tensor) -> Tensor:
        """[T, n, 1] -> [T, n, 16] float64: the series is features . w, w standard normal."""
        return _features(x.double().squeeze(-1)) * torch.from_numpy(self._deviations())

    def _deviations(self) -> Array:
        return np.sqrt(np.repeat(self.variances(), 2))


def linear_gaussian(f_support: Tensor, f_query: Tensor, episodes: Episodes, noise: float) -> Tensor:
    """The posterior mean [T, Q, 1] of F w, w standard normal, for float64 features F [T, n, K].

    F_* F' (F F' + noise^2 I)^-1 y (Rasmussen & Williams 2006, 2.12).
    """
    mask = episodes.support.mask[..., None]
    f_support = f_support * mask
    gram = f_support @ f_support.mT
    gram += max(noise**2, 1e-9) * torch.eye(gram.shape[-1], dtype=torch.float64)
    solved = torch.linalg.solve(gram, episodes.support.y.double() * mask)
    return (f_query @ (f_support.mT @ solved)).float()


def _features(x: Tensor) -> Tensor:
    """[T, n] -> [T, n, 16]: sin x, cos x, sin 2x, cos 2x, ..."""
    angles = x[..., None] * torch.arange(1, HARMONICS + 1, dtype=x.dtype)
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(-2)
