"""MAML++ (Antoniou, Edwards and Storkey 2019): how to train your MAML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo, TaskStream
from metabench.learners.gradient.base import KNOBS, GradientLearner, Items

LEAST_RATE = 1e-5
"""Where the cosine schedule of the meta-rate ends (the authors' code)."""
LEAST_WEIGHT = 0.03
"""Weight of an early step, times the number of steps, once the loss has been annealed (ditto)."""


@LEARNERS.register("maml++")
@dataclass(eq=False)
class MamlPlusPlus(GradientLearner):
    """MAML with the paper's changes, all of section 4 that concern an inductive learner.

    The query loss is taken after every inner step, with weights that move to the last step
    (multi-step loss); every step and layer has a learned inner rate (LSLR); scale and shift of the
    normalisation are learned for each step and not adapted (BNWB); the first part of the training
    is first order (derivative-order annealing); the meta-rate follows a cosine. Normalisation
    statistics come from the support set, so there are no per-step running averages (BNRS).
    """

    card = LearnerCard(
        name="maml++",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=KNOBS,
        citation="Antoniou, Edwards, Storkey 2019. How to Train Your MAML. ICLR.",
    )

    inner_steps: Annotated[int, Field(ge=1, description="inner steps in meta-training")] = 5
    eval_steps: Annotated[
        int | None, Field(ge=1, description="inner steps at meta-test; None: as in meta-training")
    ] = None
    multi_step_share: Annotated[
        float, Field(ge=0, le=1, description="share of training over which early steps lose weight")
    ] = 0.1
    first_order_share: Annotated[
        float, Field(ge=0, le=1, description="share of training that is first order")
    ] = 1 / 3

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Start with uniform step weights, in first order."""
        super().setup(info, seed, device)
        self.steps_at_test = self.eval_steps or self.inner_steps
        self.weights = step_weights(self.inner_steps, 0.0).to(device)
        self.first_order = self.first_order_share > 0

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Weights; a rate for each step and tensor; scale and shift for each step and layer."""
        steps = self.inner_steps
        meta = {k: p for k, p in weights.items() if self.adapts(k)}
        meta |= {f"rate.{k}": torch.full((steps,), self.lr) for k in meta}
        meta |= {
            f"steps.{k}": p.expand(steps + 1, *p.shape).clone()
            for k, p in weights.items()
            if not self.adapts(k)
        }
        return meta

    def adapts(self, name: str) -> bool:
        """All but the scale and shift of normalised layers."""
        return not (name.endswith((".scale", ".shift")) and f"{stem(name)}.scale" in self.names)

    def start(self, meta: Parameters, support: Items) -> dict[str, Tensor]:
        """The initial weights, with the normalisation of step 0."""
        return super().start(meta, support) | self.normalisation(meta, 0)

    def normalisation(self, meta: Parameters, step: int) -> dict[str, Tensor]:
        """Scale and shift of that step, or of the last one there is."""
        at = min(step, self.inner_steps)
        return {k: meta[f"steps.{k}"][at] for k in self.names if not self.adapts(k)}

    @property
    def second_order(self) -> bool:
        """Not in the first part of the training."""
        return not self.first_order

    def updated(
        self, meta: Parameters, fast: Parameters, gradients: Parameters, step: int
    ) -> dict[str, Tensor]:
        """Gradient descent at the rate of the step and tensor."""
        at = min(step, self.inner_steps - 1)
        moved = {
            k: p - meta[f"rate.{k}"][at] * gradients[k] for k, p in fast.items() if self.adapts(k)
        }
        return moved | self.normalisation(meta, step + 1)

    def task_loss(self, meta: Parameters, support: Items, query: Items) -> Tensor:
        """Query losses after each inner step, weighted."""
        trajectory: Iterator[dict[str, Tensor]] = self.trajectory(meta, support, self.inner_steps)
        next(trajectory)
        losses = [self.outer(meta, fast, support, query) for fast in trajectory]
        return torch.stack(losses) @ self.weights

    def schedule(self, tasks: TaskStream) -> None:
        """Anneal step weights, order and meta-rate over the planned steps."""
        done = tasks.step / tasks.planned_steps(self.batch)
        progress = done / self.multi_step_share if self.multi_step_share else 1.0
        self.weights = step_weights(self.inner_steps, progress).to(self.weights)
        self.first_order = done < self.first_order_share
        self.set_rate(LEAST_RATE + (self.meta_lr - LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2)


def step_weights(steps: int, progress: float) -> Tensor:
    """Weights [steps] of the losses after each step, from uniform (progress 0) to the last (1)."""
    least = LEAST_WEIGHT / steps
    early = max((1 - min(progress, 1.0)) / steps, least)
    return torch.tensor([early] * (steps - 1) + [1 - early * (steps - 1)])


def stem(name: str) -> str:
    """``block0.scale`` -> ``block0``."""
    return name.rpartition(".")[0]
