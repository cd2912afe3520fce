"""What the function families share: scalar inputs, additive noise on what the learner sees.

Support targets carry the noise; query targets are the function itself, so a risk is the error
about the function and the Bayes risk of a noisy task is estimation error alone.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import Range, Shape, TaskDistribution, bounds

Array = NDArray[np.float64]


class FunctionFamily(TaskDistribution):
    """Functions of one variable; ``inputs`` is the interval x is uniform on."""

    kind: ClassVar[Kind] = "regression"
    inputs: Range
    noise: float = Field(default=0.0, ge=0, description="standard deviation, support targets only")

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
            **self.draw_tasks(draws),
            "support_u": draws("support_u").random((most, size)).T,
            "support_noise": draws("support_noise").standard_normal((most, size)).T
            if self.noise
            else np.zeros((size, most)),
            "query_u": draws("query_u").random((shape.query, size)).T,
            "shot": np.full(size, most)
            if least == most
            else draws("shot").integers(least, most + 1, size),
        }

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


def uniform(draws: BlockDraws, name: str, interval: Range) -> Array:
    """[BLOCK] uniform on the interval; two intervals give comonotone draws."""
    low, high = interval
    return low + (high - low) * draws(name).random(draws.size)
