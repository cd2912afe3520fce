"""Sinusoids whose input names the task: the non-mutually-exclusive tasks of Yin et al. 2020."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range, Shape
from metabench.tasks.functions import Array, FunctionFamily, uniform

GRID = 1001
"""Points of the oracle's integral over a continuous amplitude."""


@TASKS.register("amplitude-sinusoid")
class AmplitudeSinusoid(FunctionFamily):
    """y = A sin x, with a one-hot cue appended to x (Yin et al. 2020, section 6.1).

    A is one of ``amplitudes`` values equally spaced on ``amplitude``. With the cue of the task
    itself, one function of the input fits every task, and a learner can memorise it and leave
    the support set alone. A random cue says nothing; the paper tests with one, and with an A
    that is uniform on the interval (``continuous``). Axis of shift: ``noise``.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "y = A sin x, the input says which A, Yin et al. 2020"
    axes: ClassVar[tuple[str, ...]] = ("noise",)

    amplitude: Range = (0.1, 4.0)
    amplitudes: int = Field(default=20, ge=1, description="values of A; length of the cue")
    used: int = Field(default=16, ge=1, description="tasks and cues come from the first of them")
    cue: Literal["task", "random"] = Field(default="task", description="what the one-hot names")
    continuous: bool = Field(default=False, description="A uniform on the interval; cue: random")
    inputs: Range = (-5.0, 5.0)
    noise: float = Field(default=0.1, ge=0, description="standard deviation, support targets only")

    def model_post_init(self, _: object) -> None:
        """Raise ValueError where no cue could name the task."""
        if self.used > self.amplitudes:
            raise ValueError(f"used is {self.used}, but there are {self.amplitudes} amplitudes")
        if self.continuous and self.cue == "task":
            raise ValueError("a continuous amplitude has no cue: cue must be 'random'")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """x and the cue."""
        return (1 + self.amplitudes,)

    @property
    def values(self) -> Array:
        """The amplitudes that tasks have; a grid of them where they are continuous."""
        low, high = self.amplitude
        if self.continuous:
            return np.linspace(low, high, GRID)
        return np.linspace(low, high, self.amplitudes)[: self.used]

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Amplitude and cue [BLOCK]."""
        index = draws("index").integers(self.used, size=draws.size)
        if self.continuous:
            amplitude = uniform(draws, "amplitude", self.amplitude)
        else:
            amplitude = self.values[index]
        if self.cue == "random":
            index = draws("cue").integers(self.used, size=draws.size)
        return {"amplitude": amplitude, "cue": index.astype(np.float64)}

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """A sin x."""
        return np.asarray(tasks["amplitude"], dtype=np.float64)[:, None] * np.sin(x)

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The functions' episodes with the cue beside x; padded items stay zero."""
        episodes = super().realise(plan, shape, device)
        cue = self._one_hot(plan["cue"])
        s, q = episodes.support, episodes.query
        support = Support(_beside(s.x, cue, s.mask), s.y, s.mask, s.way)
        return Episodes(support, Query(_beside(q.x, cue, q.mask), q.mask), episodes.query_y)

    def shifted(self, axis: str, value: float) -> AmplitudeSinusoid:
        """Another noise."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: value})

    def oracle(self, episodes: Episodes) -> Tensor:
        """E[A | support, cue] sin x: the cue gives A away, or its likelihood is summed up."""
        s = episodes.support
        values = torch.from_numpy(self.values)
        if self.cue == "task":
            weight = s.x[:, 0, 1 : 1 + self.used].double()
        else:
            sine = torch.sin(s.x[..., :1].double()) * s.mask[..., None]
            error = ((s.y.double() - values * sine).square() * s.mask[..., None]).sum(dim=1)
            weight = torch.softmax(-error / (2 * max(self.noise, 1e-3) ** 2), dim=-1)
        mean = (weight * values).sum(dim=-1)
        return (mean[:, None, None] * torch.sin(episodes.query.x[..., :1].double())).float()

    def _one_hot(self, cue: NDArray[np.generic]) -> Tensor:
        return torch.eye(self.amplitudes)[torch.from_numpy(cue.astype(np.int64))]


def _beside(x: Tensor, cue: Tensor, mask: Tensor) -> Tensor:
    """x [T, n, 1] and cue [T, K] -> [T, n, 1 + K]."""
    repeated = cue[:, None].expand(-1, x.shape[1], -1) * mask[..., None]
    return torch.cat([x, repeated], dim=-1)
