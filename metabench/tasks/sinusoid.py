"""Sinusoids y = A sin(w x + p): the regression tasks of Finn et al. 2017, section 5.1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range
from metabench.tasks.functions import Array, FunctionFamily, uniform


@TASKS.register("sinusoid")
class Sinusoid(FunctionFamily):
    """Amplitude and phase vary between tasks; the defaults are the paper's distribution.

    Axes of shift, each with the value it takes: ``amplitude`` v: A uniform on [5, v];
    ``phase`` v: p uniform on [pi, pi (1 + v)]; ``frequency`` v: w = v; ``inputs`` v: x uniform on
    [5, v]; ``noise`` v: standard deviation of the support targets.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "y = A sin(w x + p), Finn et al. 2017"
    axes: ClassVar[tuple[str, ...]] = ("amplitude", "phase", "frequency", "inputs", "noise")

    amplitude: Range = (0.1, 5.0)
    phase: Range = (0.0, float(np.pi))
    frequency: float = 1.0
    inputs: Range = (-5.0, 5.0)

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Amplitude and phase [BLOCK]."""
        return {
            "amplitude": uniform(draws, "amplitude", self.amplitude),
            "phase": uniform(draws, "phase", self.phase),
        }

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """A sin(w x + p)."""
        phase = np.asarray(tasks["phase"], dtype=np.float64)[:, None]
        amplitude = np.asarray(tasks["amplitude"], dtype=np.float64)[:, None]
        return amplitude * np.sin(self.frequency * x + phase)

    def shifted(self, axis: str, value: float) -> Sinusoid:
        """One axis moved out of the paper's range."""
        change: dict[str, dict[str, object]] = {
            "amplitude": {"amplitude": (self.amplitude[1], value)},
            "phase": {"phase": (self.phase[1], self.phase[1] + float(np.pi) * value)},
            "frequency": {"frequency": value},
            "inputs": {"inputs": (self.inputs[1], value)},
            "noise": {"noise": value},
        }
        if axis not in change:
            super().shifted(axis, value)
        return self.model_copy(update=change[axis])

    def bayes(self, episodes: Episodes) -> Tensor:
        """Posterior mean under this very prior; needs two support points.

        With w known, y = a sin(w x) + b cos(w x) with a = A cos p and b = A sin p. Without noise
        least squares recovers (a, b); with noise the likelihood is Gaussian in (a, b), and the
        uniform prior on (A, p), whose density there is proportional to 1/A, is integrated on a
        grid of +-6 likelihood standard deviations.
        """
        x, y, mask = (
            t.double().squeeze(-1) if t.ndim == 3 else t.double()
            for t in (episodes.support.x, episodes.support.y, episodes.support.mask)
        )
        features = self._features(x) * mask[..., None]
        theta = torch.linalg.lstsq(features, (y * mask)[..., None]).solution.squeeze(-1)
        if self.noise > 0:
            theta = self._posterior_mean(theta, features.mT @ features)
        out = (self._features(episodes.query.x.double().squeeze(-1)) * theta[:, None]).sum(-1)
        return out.unsqueeze(-1).float()

    def _features(self, x: Tensor) -> Tensor:
        return torch.stack([torch.sin(self.frequency * x), torch.cos(self.frequency * x)], dim=-1)

    def _posterior_mean(self, theta: Tensor, precision: Tensor) -> Tensor:
        """E[(a, b) | support] for the likelihood N(theta [T, 2], noise^2 precision^-1)."""
        z = torch.linspace(-6, 6, 121, dtype=torch.float64)
        grid = torch.cartesian_prod(z, z)
        factor = torch.linalg.cholesky(torch.linalg.inv(precision)) * self.noise
        points = theta[:, None] + grid @ factor.mT
        amplitude = points.norm(dim=-1)
        phase = torch.atan2(points[..., 1], points[..., 0]).remainder(2 * torch.pi)
        low, high = self.phase
        inside = (amplitude >= self.amplitude[0]) & (amplitude <= self.amplitude[1])
        inside &= (phase - low).remainder(2 * torch.pi) <= high - low
        weight = torch.exp(-0.5 * grid.square().sum(-1)) * inside / amplitude
        total = weight.sum(-1, keepdim=True)
        # A likelihood that leaves the prior's support by six standard deviations keeps its mode.
        mean = (weight[..., None] * points).sum(1) / total.clamp_min(1e-300)
        return torch.where(total > 1e-12, mean, theta)
