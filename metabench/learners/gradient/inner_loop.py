"""The inner loop of one task: what a few gradient steps on its support set arrive at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from torch import Tensor

from metabench.episodes import Episodes, Support
from metabench.learners.backbones import Conv4, Parameters, ResNet12, Statistics
from metabench.learners.gradient.derivatives import recorded, transformed
from metabench.learners.network import Network, item_loss
from metabench.learners.trainable import Trainable


class Items(NamedTuple):
    """Labelled items of one task: x [S, *X], y [S] or [S, D], mask [S], way []."""

    x: Tensor
    y: Tensor
    mask: Tensor
    way: Tensor


@dataclass(frozen=True)
class Adapted:
    """What tasks have in common, what each has of its own [T, ...], its normalisation, its way."""

    common: dict[str, Tensor]
    own: dict[str, Tensor]
    statistics: Statistics
    way: Tensor


def support_of(support: Support) -> Items:
    """The support sets of all tasks."""
    return Items(support.x, support.y, support.mask, support.way)


def query_of(episodes: Episodes) -> Items:
    """The queries of all tasks, with their labels."""
    query = episodes.query
    return Items(query.x, episodes.query_y, query.mask, episodes.support.way)


class InnerLoop(Trainable[Adapted]):
    """The part of a gradient-based learner that looks at one task; shapes have no task axis."""

    network: Network
    names: tuple[str, ...]
    """Of the network's parameters."""
    lr: float
    inner_steps: int
    steps_at_test: int
    stride: float = 1.0
    """What an inner step is multiplied with; meta-training leaves it at 1."""
    loops: bool
    """Whether tasks run one by one, not lifted by ``vmap``."""
    fused: bool
    """Whether the meta-step is compiled."""
    inner: Callable[..., dict[str, Tensor]]
    """``slope``, maybe compiled."""
    outer: Callable[..., Tensor]
    """``query_loss``, maybe compiled."""

    def adapts(self, name: str) -> bool:
        """Whether a task changes this parameter."""
        return True

    def start(self, meta: Parameters, support: Items) -> dict[str, Tensor]:
        """The parameters that a task changes, as they are before the first step."""
        return {k: meta[k] for k in self.names if self.adapts(k)}

    def updated(
        self, meta: Parameters, fast: Parameters, gradients: Parameters, step: int
    ) -> dict[str, Tensor]:
        """One inner step: gradient descent."""
        return {k: p - self.lr * gradients[k] for k, p in fast.items()}

    def retuned(self, *, rate: float = 1.0, steps: float = 1.0) -> Self:
        """The same learner with inner rate and steps at meta-test times these; 0 steps is none."""
        other = copy.copy(self)
        other.stride = self.stride * rate
        other.steps_at_test = max(round(self.steps_at_test * steps), steps > 0)
        return other

    @property
    def differentiable(self) -> bool:
        """Whether adaptation lets a gradient through to the support set."""
        return self.second_order

    @property
    def second_order(self) -> bool:
        """Whether the meta-gradient has a part through the inner gradients."""
        return True

    def slope(self, meta: Parameters, fast: Parameters, support: Items) -> dict[str, Tensor]:
        """The gradient of the support loss in the parameters that a task changes."""

        mask = self.padded(support.mask)
        way, network = (recorded, self.direct) if self.single else (transformed, self.network)

        def loss(fast: Parameters) -> Tensor:
            return network.loss({**meta, **fast}, support.x, support.y, mask, support.way)[0]

        return way(loss, fast, second_order=self.second_order)

    @property
    def direct(self) -> Network:
        """The network with torch's own normalisation, where nobody asks for the statistics."""
        backbone: Any = getattr(self.network, "backbone", None)
        if not isinstance(backbone, Conv4 | ResNet12):
            return self.network
        return replace(self.network, backbone=replace(backbone, fused=True))

    @property
    def single(self) -> bool:
        """Whether one task is looked at a time, by code that runs as it is written."""
        return self.loops and not self.fused

    def trajectory(
        self, meta: Parameters, support: Items, steps: int
    ) -> Iterator[dict[str, Tensor]]:
        """The changed parameters of one task after 0, 1, ..., ``steps`` inner steps."""
        fast = self.start(meta, support)
        yield fast
        for step in range(steps):
            after = self.updated(meta, fast, self.inner(meta, fast, support), step)
            if self.stride != 1:
                after |= {
                    k: p + self.stride * (after[k] - p) for k, p in fast.items() if self.adapts(k)
                }
            fast = after
            yield fast

    def inner_loop(self, meta: Parameters, support: Items, steps: int) -> dict[str, Tensor]:
        """The changed parameters of one task after the last inner step."""
        *_, last = self.trajectory(meta, support, steps)
        return last

    def statistics(self, meta: Parameters, fast: Parameters, support: Items) -> Statistics:
        """What the support set normalises with, under these parameters."""
        mask = self.padded(support.mask)
        return self.network.forward({**meta, **fast}, support.x, None, mask)[1]

    def query_loss(
        self, meta: Parameters, fast: Parameters, support: Items, query: Items
    ) -> Tensor:
        """Mean loss of one task's queries under its parameters."""
        given = None if self.card.transductive else self.statistics(meta, fast, support)
        mask = self.padded(query.mask)
        network = self.direct if self.single and given is None else self.network
        output, _ = network.forward({**meta, **fast}, query.x, given, mask)
        return item_loss(output, query.y, mask, query.way)

    def padded(self, mask: Tensor) -> Tensor | None:
        """The mask, or None where one task is looked at and nothing of it is padding."""
        return None if self.single and bool(mask.all()) else mask

    def task_loss(self, meta: Parameters, support: Items, query: Items) -> Tensor:
        """The meta-loss of one task: its query loss after the inner loop."""
        fast = self.inner_loop(meta, support, self.inner_steps)
        return self.outer(meta, fast, support, query)
