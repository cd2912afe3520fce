"""Model-agnostic meta-learning (Finn, Abbeel and Levine 2017), second order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from metabench.episodes import Episodes, Prediction, Query, Support, mask_absent_classes
from metabench.learners.backbones import Parameters, Statistics, backbone_for
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    StepLog,
    TaskInfo,
    TaskStream,
)
from metabench.learners.network import Network, item_loss
from metabench.learners.trainable import Trainable
from metabench.rng import Address
from metabench.tasks.base import bounds

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Adapted:
    """Every task's own parameters [T, ...] and the normalisation its support set chose."""

    parameters: dict[str, Tensor]
    statistics: Statistics
    way: Tensor


@LEARNERS.register("maml")
@dataclass(eq=False)
class Maml(Trainable[Adapted]):
    """Learns an initialisation from which a few gradient steps fit a task.

    Defaults are the paper's for the kind of task: in regression an MLP 40-40, a meta-batch of 25,
    one step of 0.01; in classification a strided Conv-4-64 and a meta-batch of 32. The paper's
    inner rate of 0.4 there multiplies a loss summed over N classes and divided by K, and so
    stands for N x 0.4 on the mean loss used here; 0.5, the rate of later implementations with
    mean losses, trains more reliably with normalisation by the support set.
    """

    card = LearnerCard(
        name="maml",
        family="gradient",
        kinds=("classification", "regression"),
        citation="Finn, Abbeel, Levine 2017. Model-Agnostic Meta-Learning. ICML.",
    )

    inner_lr: Annotated[
        Positive | None, Field(description="inner rate; None: 0.01 regression, 0.5 classification")
    ] = None
    inner_steps: Annotated[int, Field(ge=1, description="inner steps in meta-training")] = 1
    eval_steps: Annotated[
        int | None,
        Field(ge=1, description="inner steps at meta-test; None: 10 regression, 3 classification"),
    ] = None
    meta_lr: Annotated[float, Field(gt=0, description="Adam's rate")] = 1e-3
    meta_batch: Annotated[
        int | None, Field(ge=1, description="tasks a step; None: 25 regression, 32 classification")
    ] = None
    first_order: Annotated[bool, Field(description="drop second derivatives (FOMAML)")] = False
    filters: Annotated[int, Field(ge=1, description="filters of Conv-4")] = 64
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 40

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Initialise as the paper's code does: the MLP's weights with deviation 0.01."""
        regression = info.kind == "regression"
        self.lr = self.inner_lr or (0.01 if regression else 0.5)
        self.steps_at_test = self.eval_steps or (10 if regression else 3)
        self.batch = self.meta_batch or (25 if regression else 32)
        std = 0.01 if regression else None
        backbone = backbone_for(
            info.input_shape, self.filters, (self.hidden, self.hidden), strided=True, std=std
        )
        self.network = Network(backbone, info, std=0.01)
        self.info = info
        generator = Address.of("maml", "init", seed).torch_generator()
        self.hold(self.network.init(generator), device, self.meta_lr)

    def inner_loop(
        self, parameters: Parameters, x: Tensor, y: Tensor, mask: Tensor, way: Tensor, steps: int
    ) -> tuple[dict[str, Tensor], Statistics]:
        """One task's adapted parameters and normalisation; x [S, *X], y [S] or [S, D]."""
        adapted = dict(parameters)
        slope = grad(self.network.loss, has_aux=True)
        for _ in range(steps):
            gradients, _ = slope(adapted, x, y, mask, way)
            if self.first_order:
                gradients = {k: g.detach() for k, g in gradients.items()}
            adapted = {k: p - self.lr * gradients[k] for k, p in adapted.items()}
        _, statistics = self.network.forward(adapted, x, None, mask)
        return adapted, statistics

    def meta_loss(self, parameters: Parameters, episodes: Episodes) -> Tensor:
        """Mean query loss after the inner loop (the paper's equation 1)."""

        def task(x: Tensor, y: Tensor, mask: Tensor, way: Tensor, *query: Tensor) -> Tensor:
            adapted, statistics = self.inner_loop(parameters, x, y, mask, way, self.inner_steps)
            x_query, y_query, query_mask = query
            output, _ = self.network.forward(adapted, x_query, statistics)
            return item_loss(output, y_query, query_mask, way)

        s, q = episodes.support, episodes.query
        losses: Tensor = vmap(task)(s.x, s.y, s.mask, s.way, q.x, episodes.query_y, q.mask)
        return losses.mean()

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Adam on the meta-loss, one meta-batch a step."""
        derivative = grad_and_value(self.meta_loss)
        while True:
            episodes = tasks.next(self.batch)
            gradients, loss = derivative(self.frozen, episodes)
            yield self.update(loss, gradients)

    def adapt(self, support: Support) -> Adapted:
        """The inner loop on every task, from the same initialisation."""
        start = self._start(support)

        def inner(
            x: Tensor, y: Tensor, mask: Tensor, way: Tensor
        ) -> tuple[dict[str, Tensor], Statistics]:
            return self.inner_loop(start, x, y, mask, way, self.steps_at_test)

        parameters, statistics = vmap(inner)(support.x, support.y, support.mask, support.way)
        return Adapted(parameters, statistics, support.way)

    def predict(self, state: Adapted, query: Query) -> Prediction:
        """Normalised with the statistics of the adapted network on the support set."""
        output, _ = vmap(self.network.forward)(state.parameters, query.x, state.statistics)
        if self.info.kind == "classification":
            output = mask_absent_classes(output, state.way)
        return Prediction(output)

    def _start(self, support: Support) -> dict[str, Tensor]:
        """The initialisation; head rows that meta-training never used start as the mean row.

        Labels are assigned at random in every episode, so no row stands for any class, and the
        mean row is what a further class would have been given.
        """
        start = self.frozen
        trained = bounds(self.info.shape.way)[1]
        if self.info.kind == "classification" and support.max_way > trained:
            for name in ("head.weight", "head.bias"):
                rows = start[name].clone()
                rows[trained:] = rows[:trained].mean(dim=0)
                start[name] = rows
        return start
