"""Sawtooth waves: functions with jumps, and the exact Bayes predictor."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range
from metabench.tasks.finite import LEAST_NOISE
from metabench.tasks.functions import Array, FunctionFamily, uniform

PHASES = 4096
"""Points of the oracle's integral over the phase."""
VALUES = 2**22
"""Function values that it holds at a time, at most."""


@TASKS.register("sawtooth")
class Sawtooth(FunctionFamily):
    """y = a sqrt(3) (2 frac(w x / 2 pi + p) - 1), a from N(0, scale^2), p uniform on [0, 1).

    Teeth rise and fall alike; the mean square of y is scale^2. Axes: ``frequency`` v: w = v;
    ``noise`` v: standard deviation of the support targets.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "sawtooth waves, rising and falling"
    axes: ClassVar[tuple[str, ...]] = ("frequency", "noise")

    scale: float = Field(default=2.06, gt=0, description="root mean square of y; as of sinusoids")
    frequency: float = Field(default=1.0, gt=0)
    inputs: Range = (-5.0, 5.0)

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Standardised height, and phase, [BLOCK] each."""
        return {
            "height": draws("height").standard_normal(draws.size),
            "phase": uniform(draws, "phase", (0.0, 1.0)),
        }

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """The wave at x."""
        height, phase = (np.asarray(tasks[k], np.float64)[:, None] for k in ("height", "phase"))
        turns = self.frequency * x / (2 * np.pi) + phase
        return self.scale * height * np.sqrt(3) * (2 * (turns - np.floor(turns)) - 1)

    def shifted(self, axis: str, value: float) -> Sawtooth:
        """One axis moved."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: value})

    def bayes(self, episodes: Episodes) -> Tensor:
        """The posterior mean: linear-Gaussian in a given p, and p integrated on a grid."""
        s = episodes.support
        items = s.x.shape[1] + episodes.query.x.shape[1]
        size = max(1, VALUES // (PHASES * items))
        columns = (s.x[..., 0], s.y[..., 0], s.mask, episodes.query.x[..., 0])
        parts = zip(*(c.cpu().double().split(size) for c in columns), strict=True)
        return torch.cat([self._bayes(*part) for part in parts])[..., None].float()

    def _bayes(self, x: Tensor, y: Tensor, mask: Tensor, query: Tensor) -> Tensor:
        g = self._waves(x) * mask[:, None]
        noise, prior = max(self.noise, LEAST_NOISE) ** 2, self.scale**2
        power, product = g.square().sum(-1), (g * y[:, None]).sum(-1)
        # log N(y; 0, prior g g' + noise I), less what is the same at every phase.
        total = noise + prior * power
        log_weight = 0.5 * (prior * product.square() / (total * noise) - total.log())
        weight = torch.softmax(log_weight, dim=-1) * prior * product / total
        return torch.einsum("tp,tpq->tq", weight, self._waves(query))

    def _waves(self, x: Tensor) -> Tensor:
        """Waves of height 1 at every phase of the grid, [T, n] -> [T, P, n]."""
        phase = (torch.arange(PHASES, dtype=torch.float64) + 0.5) / PHASES
        turns = self.frequency * x[:, None] / (2 * torch.pi) + phase[:, None]
        return 3**0.5 * (2 * (turns - turns.floor()) - 1)
