"""Prototypical networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.episodes import Support, mask_absent_classes
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.metric.base import (
    KNOBS,
    HalveEvery,
    MetricLearner,
    TrainQuery,
    TrainWay,
    membership,
)


@dataclass(frozen=True)
class Prototypes:
    """One mean embedding a class: means [T, W, F]; way [T]."""

    means: Tensor
    way: Tensor


@LEARNERS.register("protonet")
@dataclass(eq=False)
class ProtoNet(MetricLearner[Prototypes]):
    """Classifies by the squared Euclidean distance to each class's mean embedding.

    Defaults are the paper's on Omniglot: Conv-4-64, 60-way training episodes with five queries a
    class, the shot of the test, Adam at 1e-3 halved every 2,000 episodes. Batch normalisation
    uses the running averages of meta-training at meta-test, never the episode's own statistics.
    """

    card = LearnerCard(
        name="protonet",
        version="2",
        family="metric",
        kinds=("classification",),
        knobs=KNOBS,
        citation="Snell, Swersky, Zemel 2017. Prototypical Networks. NeurIPS.",
    )

    train_way: TrainWay = 60
    train_query: TrainQuery = 5
    halve_every: HalveEvery = 2000

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Prototypes:
        """The class means."""
        return Prototypes(prototypes(z, support), support.way)

    def scores(self, parameters: Parameters, state: Prototypes, z: Tensor) -> Tensor:
        """Negative squared distances (the paper's equation 2)."""
        return mask_absent_classes(-squared_distances(z, state.means), state.way)


def prototypes(z: Tensor, support: Support) -> Tensor:
    """Class means [T, W, F] of embeddings [T, S, F] (the paper's equation 1)."""
    member = membership(support)
    return member.mT @ z / member.sum(dim=1).clamp_min(1.0)[..., None]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[T, n, F], [T, m, F] -> [T, n, m], by differences: exact where a and b are equal."""
    return (a[:, :, None] - b[:, None]).square().sum(dim=-1)
