"""Matching networks (Vinyals et al. 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support, mask_absent_classes
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.metric.base import KNOBS, MetricLearner, TrainQuery, membership
from metabench.learners.network import ABSENT


@dataclass(frozen=True)
class Attended:
    """What queries attend to: the support's embeddings g [T, S, F]; member [T, S, W]; way [T]."""

    g: Tensor
    member: Tensor
    way: Tensor


@LEARNERS.register("matchingnet")
@dataclass(eq=False)
class MatchingNet(MetricLearner[Attended]):
    """Averages the support's labels, weighted by a softmax over cosine similarities.

    The paper's attention has no temperature: the softmax of numbers between -1 and 1 is nearly
    flat, and at 20 ways a perfect match among orthogonal items gets 13 %. Cosines are therefore
    multiplied by a scale, learned as in Gidaris and Komodakis 2018 from their 10; scale 1, not
    learned, is the paper's equation. Training episodes have the suite's way and shot and
    15 queries a class.
    """

    card = LearnerCard(
        name="matchingnet",
        family="metric",
        kinds=("classification",),
        knobs=KNOBS,
        citation="Vinyals et al. 2016. Matching Networks for One Shot Learning. NeurIPS.",
    )

    train_query: TrainQuery = 15
    scale: Annotated[float, Field(gt=0, description="factor of the cosine similarities")] = 10.0
    learn_scale: Annotated[bool, Field(description="scale is where learning starts")] = True

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The logarithm of the scale."""
        return {"log_scale": torch.tensor(math.log(self.scale))} if self.learn_scale else {}

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Attended:
        """The embeddings as they are."""
        return Attended(z, membership(support), support.way)

    def scores(self, parameters: Parameters, state: Attended, z: Tensor) -> Tensor:
        """Logarithm of the attention on each class (the paper's equation 1)."""
        attention = self.attention(parameters, state, z)
        other = state.member[:, None] == 0
        mass = attention[..., None].masked_fill(other, ABSENT).logsumexp(dim=2)
        return mask_absent_classes(mass, state.way)

    def attention(self, parameters: Parameters, state: Attended, z: Tensor) -> Tensor:
        """Logarithm of each support item's weight [T, Q, S]; over the items weights sum to 1."""
        scale = parameters["log_scale"].exp() if self.learn_scale else self.scale
        cosine = F.normalize(z, dim=-1) @ F.normalize(state.g, dim=-1).mT
        absent = state.member.sum(dim=-1) == 0
        return (scale * cosine).masked_fill(absent[:, None], ABSENT).log_softmax(dim=-1)
