"""The reference backbone trained on the support set alone, from random initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad, vmap

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.learners.backbones import Statistics, backbone_for
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner, TaskInfo
from metabench.learners.network import Network
from metabench.rng import Address


@dataclass(frozen=True)
class Fitted:
    """Every task's network: parameters [T, ...], normalisation from its support set, way [T]."""

    parameters: dict[str, Tensor]
    statistics: Statistics
    way: Tensor


@LEARNERS.register("scratch")
@dataclass(eq=False)
class Scratch(MetaLearner[Fitted]):
    """What the architecture does without meta-learning: full-batch Adam on each support set.

    All tasks of a seed start from one random initialisation.
    """

    card = LearnerCard(
        name="scratch",
        family="baseline",
        kinds=("classification", "regression"),
        citation="Kingma, Ba 2015. Adam. ICLR (the optimiser).",
    )

    steps: Annotated[int, Field(ge=1, description="Adam steps on the support set")] = 100
    lr: Annotated[float, Field(gt=0, description="Adam's rate")] = 0.01
    filters: Annotated[int, Field(ge=1, description="filters of Conv-4")] = 64
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 40

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the initialisation."""
        self.info = info
        hidden = (self.hidden, self.hidden)
        self.network = Network(
            backbone_for(info.input_shape, self.filters, hidden, strided=True), info
        )
        generator = Address.of("scratch", "init", seed).torch_generator()
        self.init = {k: v.to(device) for k, v in self.network.init(generator).items()}

    def adapt(self, support: Support) -> Fitted:
        """Adam (Kingma and Ba 2015, algorithm 1), every task on its own."""
        fit: Any = vmap(self._fit)
        parameters, statistics = fit(support.x, support.y, support.mask, support.way)
        return Fitted(parameters, statistics, support.way)

    def _fit(
        self, x: Tensor, y: Tensor, mask: Tensor, way: Tensor
    ) -> tuple[dict[str, Tensor], Statistics]:
        slope = grad(self.network.loss, has_aux=True)
        p = self.init
        first = {k: torch.zeros_like(v) for k, v in p.items()}
        second = dict(first)
        for step in range(1, self.steps + 1):
            g, _ = slope(p, x, y, mask, way)
            first = {k: 0.9 * first[k] + 0.1 * g[k] for k in p}
            second = {k: 0.999 * second[k] + 0.001 * g[k].square() for k in p}
            rate = self.lr * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            p = {k: p[k] - rate * first[k] / (second[k].sqrt() + 1e-8) for k in p}
        _, statistics = self.network.forward(p, x, None, mask)
        return p, statistics

    def predict(self, state: Fitted, query: Query) -> Prediction:
        """Normalised with the support set's statistics."""
        output, _ = vmap(self.network.forward)(state.parameters, query.x, state.statistics)
        if self.info.kind == "classification":
            output = mask_absent_classes(output, state.way)
        return Prediction(output)
