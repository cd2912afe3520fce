"""Proto-MAML (Triantafillou et al. 2020): MAML whose head starts at the class prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metabench.episodes import one_hot
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.gradient.base import KNOBS, GradientLearner, Items


@LEARNERS.register("protomaml")
@dataclass(eq=False)
class ProtoMaml(GradientLearner):
    """The head is not meta-learned: row c starts as 2 p_c with bias -|p_c|^2 (section 3).

    With that head the network is ProtoNet, by the squared distance to the prototypes p_c, and the
    inner loop then changes head and body. The meta-gradient passes through the prototypes.
    """

    card = LearnerCard(
        name="protomaml",
        family="gradient",
        kinds=("classification",),
        knobs=KNOBS,
        citation="Triantafillou et al. 2020. Meta-Dataset. ICLR.",
    )

    per_class: ClassVar[tuple[str, ...]] = ()

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The body's initial weights."""
        return {k: p for k, p in weights.items() if not k.startswith("head.")}

    def start(self, meta: Parameters, support: Items) -> dict[str, Tensor]:
        """The body, and a head made of the prototypes."""
        z, _ = self.network.backbone(meta, support.x, None, support.mask)
        member = one_hot(support.y, self.network.outputs) * support.mask[:, None]
        means = member.mT @ z / member.sum(0).clamp_min(1.0)[:, None]
        head = {"head.weight": 2 * means, "head.bias": -means.square().sum(1)}
        return dict(meta) | head
