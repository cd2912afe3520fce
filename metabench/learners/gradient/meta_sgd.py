"""Meta-SGD (Li, Zhou, Chen and Li 2017): a meta-learned rate for every single parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo
from metabench.learners.gradient.base import OUTER, WIDTHS, GradientLearner, Positive
from metabench.learners.knobs import rate, steps

RATES = (0.005, 0.1)


@LEARNERS.register("meta-sgd")
@dataclass(eq=False)
class MetaSgd(GradientLearner):
    """Learns the initialisation and, for each parameter, the inner rate, sign included.

    The update is theta' = theta - alpha o grad L(theta) (equation 3), one step of it. Rates start
    uniform in [0.005, 0.1] as in the paper, or all at ``inner_lr``.
    """

    card = LearnerCard(
        name="meta-sgd",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=(rate("inner_lr", 0.02, 0), steps("inner_steps"), *OUTER, *WIDTHS),
        citation="Li, Zhou, Chen, Li 2017. Meta-SGD: Learning to Learn Quickly. arXiv:1707.09835.",
    )

    per_class: ClassVar[tuple[str, ...]] = (
        "head.weight",
        "head.bias",
        "rate.head.weight",
        "rate.head.bias",
    )

    inner_lr: Annotated[
        Positive | None, Field(description="every initial rate; None: uniform in [0.005, 0.1]")
    ] = None
    eval_steps: Annotated[
        int | None, Field(ge=1, description="inner steps at meta-test; None: as in meta-training")
    ] = None

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the initialisation and the rates."""
        super().setup(info, seed, device)
        self.steps_at_test = self.eval_steps or self.inner_steps

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The initial weights, and a rate of its shape for each."""
        low, high = (self.inner_lr, self.inner_lr) if self.inner_lr else RATES
        rates = {
            f"rate.{k}": low + (high - low) * torch.rand(p.shape, generator=generator)
            for k, p in weights.items()
        }
        return weights | rates

    def updated(
        self, meta: Parameters, fast: Parameters, gradients: Parameters, step: int
    ) -> dict[str, Tensor]:
        """Each parameter at its own rate."""
        return {k: p - meta[f"rate.{k}"] * gradients[k] for k, p in fast.items()}
