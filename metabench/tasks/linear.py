"""Noisy linear regression in context, with a finite or a normal prior over the weights.

The tasks of Raventos et al. 2023 (arXiv:2306.15063): with few tasks in meta-training the Bayes
predictor remembers them, with all of them it is ridge regression.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.special import ndtr, ndtri
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range, Shape, bounds
from metabench.tasks.finite import LEAST_NOISE
from metabench.tasks.functions import Array, FunctionFamily

VALUES = 2**20
"""Likelihoods held at a time, at most."""


@TASKS.register("linear")
class Linear(FunctionFamily):
    """y = w . x, w from N(0, I), or uniform on the ``tasks`` of a finite set drawn from there.

    Coordinates of x are normal with standard deviation ``scale``. The paper's tests have 16 items
    in context. Axes: ``scale`` v and ``noise`` v.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "noisy linear regression, finite or normal prior, Raventos et al. 2023"
    axes: ClassVar[tuple[str, ...]] = ("scale", "noise")

    dimension: int = Field(default=8, ge=1, description="of x")
    scale: float = Field(default=1.0, gt=0, description="standard deviation of x")
    inputs: Range = Field(default=(-6.0, 6.0), description="where x / scale is cut off")
    noise: float = Field(default=0.5, ge=0, description="standard deviation, support targets only")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """A vector."""
        return (self.dimension,)

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Weights [BLOCK, dimension]."""
        return {"weights": draws("weights").standard_normal((draws.size, self.dimension))}

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """w . x for x [T, n, dimension] -> [T, n]."""
        return np.einsum("td,tnd->tn", np.asarray(tasks["weights"], dtype=np.float64), x)

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """As for functions of one variable; the inputs are kept as probabilities [BLOCK, n, d]."""
        most, size, d = bounds(shape.shot)[1], draws.size, self.dimension
        return {
            **super().plan(draws, shape),
            "support_u": draws("support_x").random((most, size, d)).swapaxes(0, 1),
            "query_u": draws("query_x").random((shape.query, size, d)).swapaxes(0, 1),
        }

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """Computed on the CPU in float64."""
        low, high = ndtr(self.inputs)
        x_support, x_query = (
            self.scale * ndtri(low + (high - low) * np.asarray(plan[name], dtype=np.float64))
            for name in ("support_u", "query_u")
        )
        noise = self.noise * np.asarray(plan["support_noise"], dtype=np.float64)
        y_support = (self.evaluate(plan, x_support) + noise)[..., None]
        y_query = self.evaluate(plan, x_query)[..., None]
        mask = np.arange(x_support.shape[1]) < np.asarray(plan["shot"], dtype=np.int64)[:, None]

        def tensor(values: Array) -> Tensor:
            return torch.from_numpy(values.astype(np.float32))

        support = Support(
            tensor(x_support * mask[..., None]),
            tensor(y_support * mask[..., None]),
            torch.from_numpy(mask),
            torch.zeros(len(mask), dtype=torch.int64),
        )
        every = torch.ones(x_query.shape[:2], dtype=torch.bool)
        return Episodes(support, Query(tensor(x_query), every), tensor(y_query))

    def shifted(self, axis: str, value: float) -> Linear:
        """Another spread of the inputs, or another noise."""
        if axis not in self.axes:
            super().shifted(axis, value)
        return self.model_copy(update={axis: value})

    def features(self, x: Tensor) -> Tensor:
        """x as float64: f = features . w, w standard normal."""
        return x.double()

    def oracle(self, episodes: Episodes) -> Tensor:
        """``bayes``, or ``discrete`` where the tasks are a finite set."""
        return self.bayes(episodes) if self.tasks is None else self.discrete(episodes)

    def bayes(self, episodes: Episodes) -> Tensor:
        """Ridge regression with penalty noise^2: the posterior mean under N(0, I)."""
        gram, moment = _moments(episodes)
        gram += max(self.noise, LEAST_NOISE) ** 2 * torch.eye(self.dimension, dtype=torch.float64)
        return _predict(torch.linalg.solve(gram, moment), episodes)

    def discrete(self, episodes: Episodes) -> Tensor:
        """The posterior mean over the finite set (dMMSE); raises ValueError without a set."""
        weights = torch.from_numpy(np.asarray(self.task_set()["weights"], dtype=np.float64))
        gram, moment = _moments(episodes)
        # The squared error at w is w'X'Xw - 2 w'X'y + y'y; y'y is the same for all w.
        products = (weights[:, :, None] * weights[:, None]).flatten(1)
        features = torch.cat([products, -2 * weights], dim=1)
        size = max(1, VALUES // len(weights))
        means = []
        for at in torch.cat([gram.flatten(1), moment], dim=1).split(size):
            log_weight = at @ features.T / (-2 * max(self.noise, LEAST_NOISE) ** 2)
            means.append(torch.softmax(log_weight, dim=-1) @ weights)
        return _predict(torch.cat(means), episodes)

    def prior_mean(self, episodes: Episodes) -> Tensor:
        """The mean of the tasks: that of the finite set, or zero."""
        shape = (episodes.tasks, self.dimension)
        if self.tasks is None:
            return _predict(torch.zeros(shape, dtype=torch.float64), episodes)
        weights = torch.from_numpy(np.asarray(self.task_set()["weights"], dtype=np.float64))
        return _predict(weights.mean(0).expand(shape), episodes)


def _moments(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """X'X [T, d, d] and X'y [T, d] of the support, float64."""
    support = episodes.support
    x = support.x.cpu().double() * support.mask.cpu()[..., None]
    return x.mT @ x, (x.mT @ support.y.cpu().double()).squeeze(-1)


def _predict(weights: Tensor, episodes: Episodes) -> Tensor:
    """w . x [T, Q, 1] at the queries."""
    return torch.einsum("td,tqd->tq", weights, episodes.query.x.cpu().double())[..., None].float()
