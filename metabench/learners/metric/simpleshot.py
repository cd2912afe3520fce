"""SimpleShot: nearest centroids of an ordinary classifier's features (Wang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.learners.backbones import MOMENTUM, Statistics
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo, TaskStream
from metabench.learners.knobs import BATCH, around, rate
from metabench.learners.metric.protonet import Prototypes, prototypes, squared_distances
from metabench.learners.supervised import Supervised

MILESTONES = (45 / 90, 66 / 90)
"""Fractions of the training after which the paper divides the rate by 10."""


@LEARNERS.register("simpleshot")
@dataclass(eq=False)
class SimpleShot(Supervised[Prototypes]):
    """Features less the mean feature of the training classes, scaled to length 1 (CL2N).

    Pre-training is the paper's: SGD with momentum 0.9 and weight decay 1e-4 at 0.1, divided by 10
    after 45 and 66 of 90 epochs, here after the same fractions of the budget; batches of 256. The
    mean feature is a running average over training batches.
    """

    card = LearnerCard(
        name="simpleshot",
        family="metric",
        kinds=("classification",),
        knobs=(rate("lr", 0.1, None), around("batch", 256, BATCH)),
        citation="Wang, Chao, Weinberger, van der Maaten 2019. SimpleShot. arXiv:1911.04623.",
    )

    batch: Annotated[int, Field(ge=2, description="labelled items a step")] = 256
    lr: Annotated[float, Field(gt=0, description="rate of SGD at first")] = 0.1
    weight_decay: Annotated[float, Field(ge=0, description="of SGD")] = 1e-4

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """The mean feature starts at 0."""
        super().setup(info, seed, device)
        self.buffers["centre"] = torch.zeros(self.embedding.features, device=device)

    def make_optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """SGD, as in the paper."""
        return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=self.weight_decay)

    def schedule(self, tasks: TaskStream) -> None:
        """Divided by 10 at each milestone."""
        planned = tasks.planned_steps(tasks.cost(self.batch))
        passed = sum(tasks.step >= m * planned for m in MILESTONES)
        self.set_rate(self.lr * 0.1**passed)

    def follow(self, z: Tensor, used: Statistics) -> None:
        """The mean feature too."""
        super().follow(z, used)
        self.buffers["centre"].lerp_(z.mean(dim=0), MOMENTUM)

    def embed_items(self, x: Tensor) -> Tensor:
        """Centred and normalised features [N, F] (the paper's section 3.1)."""
        return F.normalize(super().embed_items(x) - self.buffers["centre"], dim=-1)

    def adapt_embedded(self, support: Support) -> Prototypes:
        """The class means."""
        return Prototypes(prototypes(support.x, support), support.way)

    def predict_embedded(self, state: Prototypes, query: Query) -> Prediction:
        """Negative squared distances (the paper's equation 1)."""
        scores = -squared_distances(query.x, state.means)
        return Prediction(mask_absent_classes(scores, state.way))
