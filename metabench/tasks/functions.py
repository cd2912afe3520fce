"""What the function families share: scalar inputs, additive noise on what the learner sees.

Support targets carry the noise; query targets are the function itself, so a risk is the error
about the function and the Bayes risk of a noisy task is estimation error alone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import Address, BlockDraws, Plan
from metabench.tasks.base import Range, Shape, TaskDistribution, bounds
from metabench.tasks.finite import posterior_mean, task_set

Array = NDArray[np.float64]
PRIOR_TASKS = 4096
"""Tasks that a mean over the law is taken of."""


class FunctionFamily(TaskDistribution):
    """Functions of one variable; ``inputs`` is the interval x is uniform on."""

    kind: ClassVar[Kind] = "regression"
    inputs: Range
    noise: float = Field(default=0.0, ge=0, description="standard deviation, support targets only")
    tasks: int | None = Field(
        default=None, ge=1, description="a finite set of tasks, new for each meta-seed; None: all"
    )
    task_seed: int = Field(default=0, ge=0, description="which set; the meta-seed, in a run")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One scalar."""
        return (1,)

    @property
    def output_dim(self) -> int:
        """One scalar."""
        return 1

    @abstractmethod
    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """The tasks' parameters, arrays [BLOCK, ...]."""

    @abstractmethod
    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """f(x) for x [T, n] -> [T, n]."""

    def at_seed(self, seed: int) -> Self:
        """With the set of tasks of that meta-seed."""
        return self if self.tasks is None else self.model_copy(update={"task_seed": seed})

    def task_set(self) -> Plan:
        """Parameters [M, ...] of the finite set of tasks; raises ValueError if there is none.

        The same tasks, as far as they can be, in whatever distribution of the family.
        """
        if self.tasks is None:
            raise ValueError("the tasks are not a finite set")
        return _task_set(self)

    def law(self) -> Self:
        """The distribution that a finite set of tasks was drawn from."""
        return self.model_copy(update={"tasks": None})

    def oracle(self, episodes: Episodes) -> torch.Tensor | None:
        """The Bayes predictor [T, Q, 1], for the finite set of tasks if there is one."""
        if self.tasks is None:
            return self.bayes(episodes)
        return posterior_mean(self, self.task_set(), episodes)

    def bayes(self, episodes: Episodes) -> torch.Tensor | None:
        """The Bayes predictor for the whole law, where it is known; needs support."""
        return None

    def prior_mean(self, episodes: Episodes) -> torch.Tensor:
        """The best predictor [T, Q, 1] without support: over the finite set, or 4,096 tasks."""
        tasks = self.task_set() if self.tasks else _task_set(_some(self))
        nothing = torch.zeros_like(episodes.support.mask)
        return posterior_mean(
            self, tasks, replace(episodes, support=replace(episodes.support, mask=nothing))
        )

    def check_shape(self, shape: Shape) -> None:
        """Regression has no classes."""
        if bounds(shape.way) != (0, 0):
            raise MetabenchError(f"way: a regression task has no classes, found {shape.way}")

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Arrays are drawn item by item, so that a larger shot leaves the first items as they were.

        Inputs and noise are kept standardised; ``realise`` scales them.
        """
        least, most = bounds(shape.shot)
        size = draws.size
        return {
            **self._tasks(draws),
            "support_u": draws("support_u").random((most, size)).T,
            "support_noise": draws("support_noise").standard_normal((most, size)).T
            if self.noise
            else np.zeros((size, most)),
            "query_u": draws("query_u").random((shape.query, size)).T,
            "shot": np.full(size, most)
            if least == most
            else draws("shot").integers(least, most + 1, size),
        }

    def _tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """The parameters of a block's tasks."""
        if self.tasks is None:
            return self.draw_tasks(draws)
        which = draws("task").integers(self.tasks, size=draws.size)
        return {name: np.asarray(a, np.float64)[which] for name, a in self.task_set().items()}

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """Computed on the CPU in float64, so that every device gets the same float32 values."""
        low, high = self.inputs
        x_support = low + (high - low) * np.asarray(plan["support_u"], dtype=np.float64)
        x_query = low + (high - low) * np.asarray(plan["query_u"], dtype=np.float64)
        y_support = self.evaluate(plan, x_support) + self.noise * np.asarray(
            plan["support_noise"], dtype=np.float64
        )
        y_query = self.evaluate(plan, x_query)
        mask = np.arange(x_support.shape[1]) < np.asarray(plan["shot"], dtype=np.int64)[:, None]
        tasks, queries = x_query.shape

        def column(values: Array) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32)).unsqueeze(-1)

        support = Support(
            column(np.where(mask, x_support, 0.0)),
            column(np.where(mask, y_support, 0.0)),
            torch.from_numpy(mask),
            torch.zeros(tasks, dtype=torch.int64),
        )
        query = Query(column(x_query), torch.ones(tasks, queries, dtype=torch.bool))
        return Episodes(support, query, column(y_query))


@lru_cache(maxsize=8)
def _task_set(family: FunctionFamily) -> Plan:
    name = type(family).__name__
    address = Address.of("task set", name, family.version, family.task_seed)
    return task_set(family, address, family.tasks or 1)


def _some(family: FunctionFamily) -> FunctionFamily:
    return family.model_copy(update={"tasks": PRIOR_TASKS})


def uniform(draws: BlockDraws, name: str, interval: Range) -> Array:
    """[BLOCK] uniform on the interval; two intervals give comonotone draws."""
    low, high = interval
    return low + (high - low) * draws(name).random(draws.size)
