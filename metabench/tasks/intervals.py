"""Functions that each own an interval of the input: tasks that are not mutually exclusive."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from metabench.episodes import Episodes, Query
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range, Shape
from metabench.tasks.finite import posterior_mean
from metabench.tasks.functions import Array, FunctionFamily, uniform

Values = TypeVar("Values", Array, Tensor)


@TASKS.register("intervals")
class Intervals(FunctionFamily):
    """Task m is y = A_m sin(pi t + p_m) where x is in the m-th of M equal intervals.

    t goes from 0 to 1 over the interval. The M = ``tasks`` functions belong to the meta-seed, with
    the amplitudes and phases of Finn et al. 2017. One function of x fits every task, and a learner
    can memorise it and leave the support alone (Yin et al. 2020). In the share ``repaired`` of the
    episodes the interval has the function of another one, uniform among them, as no meta-training
    says: only the support tells. Without ``cue`` every task has the whole of ``inputs`` for its
    interval, x says nothing, and tasks are mutually exclusive. Axes: ``repaired`` v, ``noise`` v.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "functions that each own an interval of the input"
    axes: ClassVar[tuple[str, ...]] = ("repaired", "noise")

    amplitude: Range = (0.1, 5.0)
    phase: Range = (0.0, float(np.pi))
    inputs: Range = (-5.0, 5.0)
    noise: float = Field(default=0.1, ge=0, description="standard deviation, support targets only")
    tasks: int | None = Field(
        default=64, ge=2, description="intervals and functions; None: all functions, without cue"
    )
    cue: bool = Field(default=True, description="whether x says which task it is")
    repaired: float = Field(
        default=0.0, ge=0, le=1, description="share of intervals with the function of another"
    )

    @model_validator(mode="after")
    def _finite(self) -> Self:
        if self.cue and self.tasks is None:
            raise ValueError("intervals are finitely many: 'tasks' must be a number, or cue false")
        return self

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Amplitude and phase [BLOCK]."""
        return {
            "amplitude": uniform(draws, "amplitude", self.amplitude),
            "phase": uniform(draws, "phase", self.phase),
        }

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """The function of t, with x on the whole of ``inputs``."""
        amplitude, phase = (
            np.asarray(tasks[name], np.float64)[:, None] for name in ("amplitude", "phase")
        )
        return amplitude * np.sin(np.pi * self._share(x) + phase)

    def _tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """With the interval of each task [BLOCK], which decides where x lies and nothing else."""
        if self.tasks is None:
            return super()._tasks(draws)
        interval = draws("task").integers(self.tasks, size=draws.size)
        step = 1 + draws("other").integers(self.tasks - 1, size=draws.size)
        another = draws("repaired").random(draws.size) < self.repaired
        function = np.where(another, (interval + step) % self.tasks, interval)
        chosen = {name: np.asarray(a, np.float64)[function] for name, a in self.task_set().items()}
        return {**chosen, "interval": interval.astype(np.float64)}

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The functions' episodes, with x moved into the interval of the task."""
        e = super().realise(plan, shape, device)
        if not self.cue:
            return e
        interval = torch.from_numpy(np.asarray(plan["interval"], dtype=np.float64))

        def moved(x: Tensor) -> Tensor:
            share = (interval[:, None, None] + self._share(x.double())) / (self.tasks or 1)
            low, high = self.inputs
            return (low + (high - low) * share).float()

        s, q = e.support, e.query
        support = replace(s, x=moved(s.x) * s.mask[..., None])
        return Episodes(support, Query(moved(q.x), q.mask), e.query_y)

    def shifted(self, axis: str, value: float) -> Intervals:
        """Another share, or another noise."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: value})

    def oracle(self, episodes: Episodes) -> Tensor | None:
        """The posterior mean; with the cue, x says which function is likely before any support.

        None for the law that the functions were drawn from: it has no intervals.
        """
        if self.tasks is None or not self.cue:
            return super().oracle(episodes)
        count = self.tasks
        low, high = self.inputs

        def within(x: Tensor, interval: Tensor) -> Tensor:
            """x moved back, to the whole of ``inputs``."""
            share = self._share(x.double()) * count - interval[:, None, None]
            return low + (high - low) * share

        s, q = episodes.support, episodes.query
        interval = (self._share(q.x.double()) * count).mean(dim=(1, 2)).floor()
        support = replace(s, x=within(s.x, interval) * s.mask[..., None])
        known = Episodes(support, Query(within(q.x, interval), q.mask), episodes.query_y)
        own = np.arange(count)[:, None] == interval.numpy()
        with np.errstate(divide="ignore"):
            log_prior = np.log(np.where(own, 1 - self.repaired, self.repaired / (count - 1)))
        return posterior_mean(self, self.task_set(), known, log_prior)

    def prior_mean(self, episodes: Episodes) -> Tensor:
        """The best predictor without support: with the cue, x may say nearly all."""
        if not self.cue:
            return super().prior_mean(episodes)
        s = episodes.support
        nothing = replace(episodes, support=replace(s, mask=torch.zeros_like(s.mask)))
        output = self.oracle(nothing)
        assert output is not None
        return output

    def _share(self, x: Values) -> Values:
        low, high = self.inputs
        return (x - low) / (high - low)
