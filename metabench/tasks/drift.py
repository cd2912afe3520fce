"""Streams: functions of one family, met item by item, while the parameters drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from metabench.errors import MetabenchError
from metabench.rng import Address, Plan, draw
from metabench.tasks.base import Planner, Shape
from metabench.tasks.functions import FunctionFamily

Array = NDArray[np.float64]
ITEM = Shape(shot=1, query=1)
ITEM_ARRAYS = ("support_u", "support_noise", "query_u", "shot")
"""What a plan says about the items; the rest are the parameters of the function."""
Shift = Literal["hazard", "walk"]


@runtime_checkable
class LinearGaussian(Protocol):
    """A family f(x) = features(x) . w with standard normal weights w and Gaussian label noise."""

    noise: float

    def features(self, x: Tensor) -> Tensor:
        """Inputs [T, n, *X] -> [T, n, F], float64."""
        ...


class StreamSpec(BaseModel):
    """Streams at several rates of drift, and how a learner without a stream of its own meets them.

    ``hazard``: the chance, before every item but the first, that the function is replaced; by a new
    one of the law, or by another one of the stream's ``regimes``. ``walk`` q: the weights are
    sqrt(1 - q) times those of the item before plus sqrt(q) times fresh ones. That leaves their law
    as it is: a function of any item is one of the law, and what is hard is the drift alone.

    A learner is refrozen before every ``every`` items, on the last ``window`` items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    shift: Shift = "hazard"
    levels: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        min_length=1, description="hazards h or rates q, ascending"
    )
    regimes: int | None = Field(
        default=None, ge=2, description="that a stream recurs to; None: every regime is novel"
    )
    steps: int = Field(default=2000, ge=1, description="scored items; ``window`` come before")
    window: int = Field(default=10, ge=1, description="items that are adapted to")
    every: int = Field(default=1, ge=1, description="items between two adaptations")
    online: bool = Field(
        default=False, description="learners with ``observe`` go on with their state instead"
    )
    hypotheses: int = Field(default=32, ge=2, description="run lengths that the filter keeps")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(set(self.levels)) != self.levels:
            raise ValueError(f"levels must ascend, found {self.levels}")
        if self.steps % self.every:
            raise ValueError(f"steps must be a multiple of every = {self.every}")
        if self.online and self.every > 1:
            raise ValueError("online: such a learner adapts at every item, so every must be 1")
        if self.regimes is not None and self.shift == "walk":
            raise ValueError("regimes: a random walk has none")
        return self

    @property
    def items(self) -> int:
        """The length of a stream."""
        return self.window + self.steps


@dataclass(frozen=True)
class StreamBatch:
    """N streams of L items: what is met, what is scored, and what has changed."""

    x: Tensor
    """Inputs [N, L, *X]."""
    y: Tensor
    """Labels [N, L, 1], with the noise of support labels."""
    target: Tensor
    """The function itself [N, L, 1]."""
    switch: Tensor
    """Where an item is the first of a new regime [N, L] bool; the first of all is not."""
    pool: Tensor | None = None
    """Values of every regime [N, L, M] of streams that recur to M of them."""

    @property
    def since(self) -> Tensor:
        """Items since the last switch [N, L]: 0 at it, -1 before the first one."""
        time = torch.arange(self.switch.shape[1]).expand_as(self.switch)
        last = torch.where(self.switch, time, -1).cummax(dim=1).values
        return torch.where(last >= 0, time - last, -1)


@dataclass(frozen=True)
class Drawn:
    """Everything random about streams at every level: levels share it.

    Item t brings its own input, noise and parameters, and a uniform number: a regime that starts
    there has those parameters, and it starts if the number is below the hazard. So the switches at
    one hazard are among those at a higher one, and a longer stream begins with the shorter one.
    """

    family: FunctionFamily
    plan: dict[str, NDArray[np.generic]]
    """Rows of all streams, one after the other."""
    uniform: Array
    """[N, L]."""
    pick: Array
    """[N, L] uniform: which regime comes, of those that recur."""
    regimes: Plan | None
    """Parameters [N M, ...] of the regimes that recur."""

    def at(self, shift: Shift, value: float) -> StreamBatch:
        """The streams with that drift."""
        count, length = self.uniform.shape
        switch = self.uniform < (value if shift == "hazard" else 0.0)
        switch[:, 0] = False
        own = {k: v for k, v in self.plan.items() if k not in ITEM_ARRAYS}
        if shift == "walk":
            return self._realise(self._walk(own, value), switch)
        if self.regimes is None:
            start = np.maximum.accumulate(np.where(switch, np.arange(length), 0), axis=1)
            rows = (start + length * np.arange(count)[:, None]).ravel()
            return self._realise({k: v[rows] for k, v in own.items()}, switch)
        many = len(next(iter(self.regimes.values()))) // count
        # A step of 1 to M - 1 around the circle leads to another regime, all alike.
        steps = np.where(switch, 1 + np.floor(self.pick * (many - 1)), 0)
        regime = np.cumsum(steps, axis=1).astype(np.int64) % many
        offset = many * np.arange(count)[:, None]

        def values(which: NDArray[np.int64]) -> StreamBatch:
            rows = np.broadcast_to(offset + which, switch.shape).ravel()
            assert self.regimes is not None
            return self._realise({k: v[rows] for k, v in self.regimes.items()}, switch)

        pool = [values(np.full((1, 1), m, np.int64)).target[..., 0] for m in range(many)]
        met = values(regime)
        return StreamBatch(met.x, met.y, met.target, met.switch, torch.stack(pool, dim=-1))

    def _walk(self, own: Plan, q: float) -> Plan:
        if not isinstance(self.family, LinearGaussian):
            raise MetabenchError(f"{type(self.family).__name__}: only normal weights can walk")
        count, length = self.uniform.shape
        fresh = np.asarray(own["weights"], dtype=np.float64).reshape(count, length, -1)
        path = fresh.copy()
        for t in range(1, length):
            path[:, t] = np.sqrt(1 - q) * path[:, t - 1] + np.sqrt(q) * fresh[:, t]
        return {"weights": path.reshape(count * length, -1)}

    def _realise(self, parameters: Plan, switch: NDArray[np.bool_]) -> StreamBatch:
        """Every item as an episode of one support item and the same query."""
        plan = {**self.plan, **parameters, "query_u": self.plan["support_u"]}
        episodes = self.family.realise(plan, ITEM, torch.device("cpu"))
        support = episodes.support
        x, y, target = (
            t.squeeze(1).unflatten(0, switch.shape)
            for t in (support.x, support.y, episodes.query_y)
        )
        return StreamBatch(x, y, target, torch.from_numpy(switch))


def draw_streams(
    family: FunctionFamily, spec: StreamSpec, address: Address, indices: range
) -> Drawn:
    """The streams of these indices: a function of (address, index), whatever their number."""
    if family.tasks is not None:
        raise MetabenchError("a stream draws its regimes from a law: say 'regimes', not 'tasks'")
    planner, length = Planner(family, ITEM), spec.items
    streams = [address.child("stream", i) for i in indices]
    plans = [draw(planner, stream, range(length)) for stream in streams]
    regimes: Plan | None = None
    if spec.regimes is not None:
        pools = [draw(planner, s.child("regimes"), range(spec.regimes)) for s in streams]
        regimes = {k: np.concatenate([p[k] for p in pools]) for k in pools[0]}
        regimes = {k: v for k, v in regimes.items() if k not in ITEM_ARRAYS}
    uniform, pick = (
        np.stack([s.generator(name).random(length) for s in streams]) for name in ("switch", "pick")
    )
    whole = {k: np.concatenate([p[k] for p in plans]) for k in plans[0]}
    return Drawn(family, whole, uniform, pick, regimes)
