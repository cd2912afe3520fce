"""What gradient-based meta-learners share: the inner loop of one task, lifted over tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad_and_value, vmap

from metabench.episodes import Episodes, Prediction, Query, Support, mask_absent_classes
from metabench.learners.backbones import MLP, BackboneName, Parameters, Statistics, backbone_for
from metabench.learners.contract import StepLog, TaskInfo, TaskStream
from metabench.learners.gradient.derivatives import Fused, Loss
from metabench.learners.gradient.inner_loop import (
    Adapted,
    InnerLoop,
    Items,
    query_of,
    support_of,
)
from metabench.learners.gradient.lifting import looped
from metabench.learners.knobs import batch, rate, steps, width
from metabench.learners.network import Network
from metabench.rng import Address
from metabench.tasks.base import bounds

__all__ = [
    "FUSE_FROM",
    "HEAD_STD",
    "KNOBS",
    "OUTER",
    "WIDTHS",
    "Adapted",
    "GradientLearner",
    "Items",
    "Positive",
    "query_of",
    "support_of",
]

Positive = Annotated[float, Field(gt=0)]

FUSE_FROM = 10_000
"""Meta-steps from which a training is long enough to repay compilation."""

HEAD_STD = 0.01
"""Deviation of a classifier's head at the start."""

WIDTHS = (width("hidden", 40, "regression"), width("filters", 64, "classification"))
BATCHES = (batch("meta_batch", 25, "regression"), batch("meta_batch", 32, "classification"))
OUTER = (rate("meta_lr", 1e-3, 1), *BATCHES)
KNOBS = (
    rate("inner_lr", 0.01, 0, "regression"),
    rate("inner_lr", 0.5, 0, "classification"),
    steps("inner_steps"),
    *OUTER,
    *WIDTHS,
)
"""Of learners with these defaults."""


@dataclass(eq=False)
class GradientLearner(InnerLoop):
    """Meta-learns what a few gradient steps on the support set start from.

    A subclass says what it meta-learns (``meta_parameters``), which parameters a task changes
    (``adapts``, ``start``) and how (``updated``). Normalisation uses the statistics of the support
    set under the parameters in use; a learner whose card says transductive normalises queries by
    the statistics of their own batch, as the code of Finn et al. 2017 does.
    """

    per_class: ClassVar[tuple[str, ...]] = ("head.weight", "head.bias")
    """What is meta-learned with a row for every class."""
    std: ClassVar[float] = 0.01
    """Deviation of dense weights at the start, in regression."""

    inner_lr: Annotated[
        Positive | None, Field(description="inner rate; None: 0.01 regression, 0.5 classification")
    ] = None
    inner_steps: Annotated[int, Field(ge=1, description="inner steps in meta-training")] = 1
    eval_steps: Annotated[
        int | None,
        Field(ge=1, description="inner steps at meta-test; None: 10 regression, 3 classification"),
    ] = None
    meta_lr: Annotated[float, Field(gt=0, description="the outer optimiser's rate")] = 1e-3
    meta_batch: Annotated[
        int | None, Field(ge=1, description="tasks a step; None: 25 regression, 32 classification")
    ] = None
    backbone: Annotated[
        BackboneName | None, Field(description="None: Conv-4 on images, an MLP on the rest")
    ] = None
    strided: Annotated[
        bool, Field(description="Conv-4 halves by strides (Omniglot), not by max pooling")
    ] = True
    filters: Annotated[int, Field(ge=1, description="filters of a convolutional network")] = 64
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 40
    normalised: Annotated[
        bool | None, Field(description="None: convolutional networks are, an MLP is not")
    ] = None
    fused_training: Annotated[
        bool | None,
        Field(description="compile the meta-step; None: in trainings of 10,000 steps and more"),
    ] = None

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the initialisation, and resolve what depends on the kind of task."""
        regression = info.kind == "regression"
        self.lr = self.inner_lr or (0.01 if regression else 0.5)
        self.steps_at_test = self.eval_steps or (10 if regression else 3)
        self.batch = self.meta_batch or (25 if regression else 32)
        self.network = self.network_for(info)
        self.info = info
        # A convolution whose kernel differs from task to task is a grouped one, which a CPU runs
        # slower than a loop over tasks.
        self.loops = device.type == "cpu" and not isinstance(self.network.backbone, MLP)
        generator = Address.of(self.card.name, "init", seed).torch_generator()
        weights = self.network.init(generator)
        self.names = tuple(weights)
        self.fuse(False)
        self.hold(self.meta_parameters(weights, generator), device, self.meta_lr)

    def network_for(self, info: TaskInfo) -> Network:
        """What the inner loop adapts."""
        backbone = backbone_for(
            info.input_shape,
            self.filters,
            (self.hidden, self.hidden),
            name=self.backbone,
            strided=self.strided,
            normalised=self.normalised,
            std=self.std if info.kind == "regression" else None,
        )
        return Network(backbone, info, std=self.std if info.kind == "regression" else HEAD_STD)

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Everything that is meta-learned: here the network's initial weights."""
        return weights

    def task_gradient(
        self, meta: Parameters, support: Items, query: Items
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Gradient of one task's meta-loss in everything that is meta-learned, and the loss."""
        return self.gradient_of(lambda meta: self.task_loss(meta, support, query), meta)

    def gradient_of(self, loss: Loss, meta: Parameters) -> tuple[dict[str, Tensor], Tensor]:
        """Gradient and value of one task's loss, as the lift over tasks has them taken."""
        if not self.loops:
            gradient: Callable[..., Any] = grad_and_value(loss)
            found: tuple[dict[str, Tensor], Tensor] = gradient(meta)
            return found
        leaves = {k: p.detach().requires_grad_() for k, p in channels_last(meta).items()}
        with torch.enable_grad():
            value = loss(leaves)
            parts = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, parts, strict=True)), value.detach()

    def meta_gradient(
        self, meta: Parameters, episodes: Episodes
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Mean gradient and mean loss over the tasks."""
        found: tuple[dict[str, Tensor], Tensor] = self.over_tasks(
            meta, support_of(episodes.support), query_of(episodes)
        )
        return found

    def batch_gradient(
        self, meta: Parameters, support: Items, query: Items
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The same of a batch of support and query sets."""

        def one(support: Items, query: Items) -> tuple[dict[str, Tensor], Tensor]:
            return self.task_gradient(meta, support, query)

        gradients, losses = self.lift(one)(support, query)
        return {k: g.mean(0).contiguous() for k, g in gradients.items()}, losses.mean()

    def fuse(self, fused: bool) -> None:
        """Run the meta-step as it is, or compiled: whole if lifted, in two parts if in a loop."""
        self.fused = self.compiling = fused
        lifted, parts = fused and not self.loops, fused and self.loops
        threaded = torch.get_num_threads() > 1
        self.inner = Fused(self.slope, threaded=threaded) if parts else self.slope
        self.outer = Fused(self.query_loss, threaded=threaded) if parts else self.query_loss
        self.over_tasks = Fused(self.batch_gradient) if lifted else self.batch_gradient

    def lift(self, one: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one task as a function of a batch of them."""
        return looped(one, alone=self.compiling) if self.loops else vmap(one)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """One step of the outer optimiser a meta-batch."""
        fixed = all(isinstance(count, int) for count in (self.info.shape.way, self.info.shape.shot))
        long = tasks.planned_steps(self.batch) >= FUSE_FROM
        self.fuse(fixed and long if self.fused_training is None else self.fused_training)
        order: bool | None = None
        try:
            while True:
                self.schedule(tasks)
                # Another shape or order is compiled anew, which threads would do at the same time.
                self.compiling = self.fused and not (fixed and order == self.second_order)
                order = self.second_order
                gradients, loss = self.meta_gradient(self.frozen, tasks.next(self.batch))
                yield self.update(loss, gradients)
        finally:
            self.fuse(False)  # at meta-test shapes vary, and each would be compiled

    def schedule(self, tasks: TaskStream) -> None:
        """Set what depends on the meta-step before it is taken."""

    def adapt(self, support: Support) -> Adapted:
        """The inner loop on every task, from what was meta-learned."""
        meta = self.widened(self.frozen, support)
        if self.loops:
            meta = channels_last(meta)

        def one(support: Items) -> tuple[dict[str, Tensor], Statistics]:
            fast = self.inner_loop(meta, support, self.steps_at_test)
            return fast, self.statistics(meta, fast, support)

        with torch.set_grad_enabled(support.x.requires_grad):
            own, statistics = self.lift(one)(support_of(support))
        return Adapted(meta, own, statistics, support.way)

    def predict(self, state: Adapted, query: Query) -> Prediction:
        """The adapted network's outputs."""

        def one(own: Parameters, statistics: Statistics, x: Tensor, mask: Tensor) -> Tensor:
            given = None if self.card.transductive else statistics
            return self.network.forward({**state.common, **own}, x, given, self.padded(mask))[0]

        output = self.lift(one)(state.own, state.statistics, query.x, query.mask)
        if self.info.kind == "classification":
            output = mask_absent_classes(output, state.way)
        return Prediction(output)

    def widened(self, meta: Mapping[str, Tensor], support: Support) -> dict[str, Tensor]:
        """Head rows that meta-training never used become the mean of those it used.

        Labels are assigned at random in every episode, so no row stands for any class, and the
        mean row is what a further class would have been given.
        """
        trained = bounds(self.info.shape.way)[1]
        wide = dict(meta)
        if self.info.kind == "classification" and support.max_way > trained:
            for name in self.per_class:
                rows = meta[name]
                spare = rows[:trained].mean(dim=0, keepdim=True)
                wide[name] = torch.cat([rows[:trained], spare.expand_as(rows[trained:])])
        return wide


def channels_last(parameters: Parameters) -> dict[str, Tensor]:
    """The same values, kernels laid out as a CPU's convolutions and poolings want them."""
    return {
        k: p.to(memory_format=torch.channels_last) if p.ndim == 4 else p
        for k, p in parameters.items()
    }
