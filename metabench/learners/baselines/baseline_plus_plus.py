"""Baseline++: fine-tuning with a cosine classifier (Chen et al. 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones import Parameters
from metabench.learners.baselines.finetune import FineTune
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo

MANY_CLASSES = 200


@LEARNERS.register("baseline++")
@dataclass(eq=False)
class BaselinePlusPlus(FineTune):
    """Scores are cosines between a feature and each class's weight vector, scaled.

    As in the authors' code each class has a gain of its own, learned, beside the common scale.
    All tasks of a seed start from the same random heads. A cosine moves slowly with its weights:
    at the linear head's rate 100 full-batch steps leave it near where it started.
    """

    card = LearnerCard(
        name="baseline++",
        family="transfer",
        kinds=("classification",),
        citation="Chen et al. 2019. A Closer Look at Few-shot Classification. ICLR.",
    )

    adapt_lr: Annotated[float | None, Field(gt=0, description="rate on a support set")] = 1.0
    scale: Annotated[
        float | None,
        Field(gt=0, description="of the cosines; None: 2, and 10 with more than 200 classes"),
    ] = None

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the heads that tasks start from."""
        super().setup(info, seed, device)
        start = self._cosine_head(info.max_way, "task head")
        self.start = {k: p.to(device) for k, p in start.items()}

    def head(self, classes: int) -> dict[str, Tensor]:
        """Directions and gains."""
        return self._cosine_head(classes, "head")

    def logits(self, parameters: Parameters, z: Tensor) -> Tensor:
        """Cosines times gain and scale."""
        weight = F.normalize(parameters["head.weight"], dim=-1)
        scale = self.scale or (10.0 if weight.shape[-2] > MANY_CLASSES else 2.0)
        cosine = F.normalize(z, dim=-1) @ weight.mT
        return scale * parameters["head.gain"].unsqueeze(-2) * cosine

    def task_head(self, tasks: int, way: int) -> dict[str, Tensor]:
        """The seed's random head of that many classes."""
        return {k: p[:way].expand(tasks, *p[:way].shape) for k, p in self.start.items()}

    def _cosine_head(self, classes: int, name: str) -> dict[str, Tensor]:
        """Weights uniform as in torch.nn.Linear; the gain is each one's length."""
        bound = 1 / math.sqrt(self.embedding.features)
        weight = torch.empty(classes, self.embedding.features)
        weight.uniform_(-bound, bound, generator=self.generator(name))
        return {"head.weight": weight, "head.gain": weight.norm(dim=-1)}
