"""Pre-training on all tasks together, then gradient descent on each support set.

In classification the "Baseline" of Chen et al. 2019: an ordinary classifier of the training
classes, whose features stay frozen while a new linear head is trained on the support set. In
regression "pretrained on all tasks" of Finn, Abbeel and Levine 2017 (section 5.1): one network
that regresses all tasks, all of whose weights are trained further on the support set.
"""

# No postponed annotations: a dataclass in another module resolves inherited ones in its own names.

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from metabench.episodes import Episodes, Prediction, Query, Support, mask_absent_classes
from metabench.learners.backbones import Parameters, backbone_for
from metabench.learners.contract import LEARNERS, LearnerCard, StepLog, TaskInfo, TaskStream
from metabench.learners.network import ABSENT, Network
from metabench.learners.supervised import Supervised

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-3
"""Of the head's SGD, in Chen et al.'s code."""
POOLED = 25
"""Tasks a step of pre-training in regression, as many as a meta-batch of Finn et al."""


@dataclass(frozen=True)
class Tuned:
    """Every task's head, or in regression its whole network [T, ...]; way [T]."""

    parameters: dict[str, Tensor]
    way: Tensor


@LEARNERS.register("finetune")
@dataclass(eq=False)
class FineTune(Supervised[Tuned]):
    """Pre-trained by Adam; the head is then trained on the whole support set, from zero.

    Chen et al.'s code trains it from a random start by 100 passes in mini-batches of 4, 700 steps
    of 0.01 on 5-way 5-shot. Full batches from zero need no randomness and treat all labels alike;
    100 steps of 0.1 go about as far. They pre-train in batches of 16 over very many steps; the
    default here makes more of a budget that counts steps.
    """

    card = LearnerCard(
        name="finetune",
        family="transfer",
        kinds=("classification", "regression"),
        citation="Chen et al. 2019. A Closer Look at Few-shot Classification. ICLR (Baseline); "
        "Finn, Abbeel, Levine 2017. ICML (pretrained on all tasks, regression).",
    )

    adapt_steps: Annotated[
        int | None,
        Field(ge=1, description="steps on a support set; None: 100 classification, 10 regression"),
    ] = None
    adapt_lr: Annotated[
        float | None,
        Field(gt=0, description="rate on a support set; None: 0.1, and 0.01 in regression"),
    ] = None

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """In regression Finn et al.'s network, weights with deviation 0.01, not normalised."""
        regression = info.kind == "regression"
        self.steps = self.adapt_steps or (10 if regression else 100)
        self.rate = self.adapt_lr or (0.01 if regression else 0.1)
        if not regression:
            super().setup(info, seed, device)
            return
        self.info, self.seed, self.device = info, seed, device
        hidden = (self.hidden, self.hidden)
        body = backbone_for(
            info.input_shape, self.filters, hidden, name=self.backbone, normalised=False, std=0.01
        )
        self.network = Network(body, info, std=0.01)
        self.hold(self.network.init(self.generator("init")), device, self.lr)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Cross-entropy on labelled items, or squared error on all items of all tasks."""
        if self.info.kind == "classification":
            yield from super().meta_fit(tasks, seed)
        while True:
            yield self.update(self.pooled_loss(tasks.next(POOLED)))

    def pooled_loss(self, episodes: Episodes) -> Tensor:
        """Squared error over support and query items of all tasks, as if they were one."""
        s, q = episodes.support, episodes.query
        x = torch.cat([s.x, q.x], dim=1).flatten(0, 1)
        y = torch.cat([s.y, episodes.query_y], dim=1).flatten(0, 1)
        mask = torch.cat([s.mask, q.mask], dim=1).flatten()
        loss, _ = self.network.loss(self.parameters, x, y, mask, s.way[0])
        return loss

    def task_head(self, tasks: int, way: int) -> dict[str, Tensor]:
        """Where every task's head starts: at zero."""
        size = (tasks, way, self.embedding.features)
        return {
            "head.weight": torch.zeros(size, device=self.device),
            "head.bias": torch.zeros(size[:2], device=self.device),
        }

    def adapt(self, support: Support) -> Tuned:
        """Gradient descent on every task: its head, or in regression all of its network."""
        if self.info.kind == "regression":
            tuned: Any = vmap(self._tune)(support.x, support.y, support.mask, support.way)
            return Tuned(tuned, support.way)
        return super().adapt(support)

    def adapt_embedded(self, support: Support) -> Tuned:
        """Gradient descent on every task's head."""
        start = self.task_head(support.tasks, support.max_way)

        def loss(head: dict[str, Tensor]) -> Tensor:
            return head_loss(self.logits(head, support.x), support)

        return Tuned(descend(loss, start, self.steps, self.rate), support.way)

    def predict(self, state: Tuned, query: Query) -> Prediction:
        """The tuned head on frozen features, or the tuned network."""
        if self.info.kind == "regression":
            output, _ = vmap(self.network.forward)(state.parameters, query.x)
            return Prediction(output)
        return super().predict(state, query)

    def predict_embedded(self, state: Tuned, query: Query) -> Prediction:
        """The tuned head's scores."""
        scores = self.logits(state.parameters, query.x)
        return Prediction(mask_absent_classes(scores, state.way))

    def _tune(self, x: Tensor, y: Tensor, mask: Tensor, way: Tensor) -> Parameters:
        slope = grad(self.network.loss, has_aux=True)
        parameters = self.frozen
        for _ in range(self.steps):
            gradients, _ = slope(parameters, x, y, mask, way)
            parameters = {k: p - self.rate * gradients[k] for k, p in parameters.items()}
        return parameters


def head_loss(scores: Tensor, support: Support) -> Tensor:
    """Sum over tasks of the mean cross-entropy of the support items; scores [T, S, W].

    A sum, so that every task's gradient is its own.
    """
    absent = torch.arange(scores.shape[-1], device=scores.device) >= support.way[:, None]
    scores = scores.masked_fill(absent[:, None], ABSENT)
    losses = F.cross_entropy(scores.mT, support.y, reduction="none")
    return ((losses * support.mask).sum(dim=1) / support.mask.sum(dim=1)).sum()


def descend(
    loss: Callable[[dict[str, Tensor]], Tensor],
    parameters: dict[str, Tensor],
    steps: int,
    lr: float,
) -> dict[str, Tensor]:
    """Gradient descent with momentum, dampened by as much, and weight decay (Chen et al.'s)."""
    slope = grad(loss)
    velocity: dict[str, Tensor] = {}
    for _ in range(steps):
        gradients = slope(parameters)
        for k, p in parameters.items():
            g = gradients[k] + WEIGHT_DECAY * p
            velocity[k] = torch.lerp(g, velocity[k], MOMENTUM) if k in velocity else g
        parameters = {k: p - lr * velocity[k] for k, p in parameters.items()}
    return parameters
