"""Demand under regimes that come and go: which elasticity holds today?"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Range, Shape, TaskDistribution, bounds

Array = NDArray[np.float64]
DAYS = 10
"""Days for which the age in the input is 1."""


@TASKS.register("demand")
class Demand(TaskDistribution):
    """log q = a_z - b_z log p with a hidden regime z, a Markov chain over days.

    The inputs are (log p, age in tens of days): support item i is i + 1 days old, queries are of
    today. Support targets carry noise; the query's target is the demand curve of today's regime.
    Old items may be of another regime, so that age matters as much as the target. Axes: ``stay``
    v, ``noise`` v; ``elasticity`` v: the last regime's b = v.
    """

    kind: ClassVar[Kind] = "regression"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "demand curves whose elasticity is a hidden Markov regime"
    axes: ClassVar[tuple[str, ...]] = ("stay", "noise", "elasticity")

    intercepts: tuple[float, ...] = Field(default=(0.5, 0.0), description="a, one a regime")
    elasticities: tuple[float, ...] = Field(default=(0.5, 1.5), description="b, one a regime")
    stay: float = Field(default=0.98, ge=0, le=1, description="P(same regime the next day)")
    log_price: Range = (-1.0, 1.0)
    noise: float = Field(default=0.5, gt=0, description="standard deviation, support targets only")

    @model_validator(mode="after")
    def _regimes(self) -> Self:
        if not 2 <= len(self.intercepts) == len(self.elasticities):
            raise ValueError("intercepts and elasticities must be as many, two or more")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Log price and age."""
        return (2,)

    @property
    def output_dim(self) -> int:
        """The log quantity."""
        return 1

    @property
    def regimes(self) -> int:
        """S."""
        return len(self.intercepts)

    def check_shape(self, shape: Shape) -> None:
        """Regression has no classes."""
        if bounds(shape.way) != (0, 0):
            raise MetabenchError(f"way: a regression task has no classes, found {shape.way}")

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Drawn from today backwards, so that a larger shot leaves the last days as they were."""
        least, most = bounds(shape.shot)
        size = draws.size
        return {
            "regime": draws("regime").integers(self.regimes, size=size),
            "switch_u": draws("switch_u").random((most, size)).T,
            "other": draws("other").integers(1, self.regimes, size=(most, size)).T,
            "support_u": draws("support_u").random((most, size)).T,
            "support_noise": draws("support_noise").standard_normal((most, size)).T,
            "query_u": draws("query_u").random((shape.query, size)).T,
            "shot": np.full(size, most)
            if least == most
            else draws("shot").integers(least, most + 1, size),
        }

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """Computed on the CPU in float64. A symmetric chain is the same in reversed time."""
        arrays = {name: np.asarray(a, dtype=np.float64) for name, a in plan.items()}
        step = np.where(arrays["switch_u"] < self.stay, 0, arrays["other"]).astype(np.int64)
        today = arrays["regime"].astype(np.int64)[:, None]
        regime = (today + np.cumsum(step, axis=1)) % self.regimes
        low, high = self.log_price
        price, query_price = (
            low + (high - low) * arrays[name] for name in ("support_u", "query_u")
        )
        y = self._curve(price, regime) + self.noise * arrays["support_noise"]
        mask = np.arange(price.shape[1]) < arrays["shot"][:, None]
        age = np.broadcast_to(np.arange(1, price.shape[1] + 1) / DAYS, price.shape)

        def tensor(*columns: Array) -> Tensor:
            return torch.from_numpy(np.stack(columns, axis=-1).astype(np.float32))

        support = Support(
            tensor(price * mask, age * mask),
            tensor(y * mask),
            torch.from_numpy(mask),
            torch.zeros(len(mask), dtype=torch.int64),
        )
        every = torch.ones(query_price.shape, dtype=torch.bool)
        query = Query(tensor(query_price, np.zeros_like(query_price)), every)
        return Episodes(support, query, tensor(self._curve(query_price, today)))

    def shifted(self, axis: str, value: float) -> Demand:
        """One axis moved."""
        change: dict[str, dict[str, object]] = {
            "stay": {"stay": value},
            "noise": {"noise": value},
            "elasticity": {"elasticities": (*self.elasticities[:-1], value)},
        }
        if axis not in change:
            super().shifted(axis, value)
        return self.model_copy(update=change[axis])

    def oracle(self, episodes: Episodes) -> Tensor:
        """The mean curve under P(today's regime | support), by the Hamilton filter."""
        return self._mean_curve(self.regime_probabilities(episodes), episodes)

    def prior_mean(self, episodes: Episodes) -> Tensor:
        """The mean of the curves."""
        return self._mean_curve(np.full((episodes.tasks, self.regimes), 1 / self.regimes), episodes)

    def regime_probabilities(self, episodes: Episodes) -> Array:
        """P(today's regime | support) [T, S]; items may be in any order, and days missing."""
        # Everything that trains imports this module, and nothing else of it needs scipy.stats.
        from metabench.statistics.hamilton import hamilton_filter, symmetric_chain

        s = episodes.support
        x, y, mask = s.x.cpu().double().numpy(), s.y.cpu().double().numpy(), s.mask.cpu().numpy()
        curves = self._curve(x[..., :1], np.arange(self.regimes))
        log_density = np.where(mask[..., None], -0.5 * ((y - curves) / self.noise) ** 2, 0.0)
        day = np.where(mask, np.rint(x[..., 1] * DAYS).astype(np.int64), 1)
        days = int(day.max(initial=1))
        series = np.zeros((len(x), days, self.regimes))
        # The filter runs from the oldest day to yesterday.
        np.add.at(series, (np.arange(len(x))[:, None], days - day), log_density)
        chain = symmetric_chain(self.regimes, self.stay)
        start = np.full(self.regimes, 1 / self.regimes)
        return np.asarray(hamilton_filter(series, chain, start).predicted[:, -1])

    def _curve(self, price: Array, regime: NDArray[np.int64]) -> Array:
        a, b = np.array(self.intercepts)[regime], np.array(self.elasticities)[regime]
        return np.asarray(a - b * price)

    def _mean_curve(self, probability: Array, episodes: Episodes) -> Tensor:
        price = episodes.query.x[..., :1].cpu().double().numpy()
        curves = self._curve(price, np.arange(self.regimes))
        mean = (curves * probability[:, None]).sum(axis=-1, keepdims=True)
        return torch.from_numpy(mean).float()
