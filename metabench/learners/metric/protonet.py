"""Prototypical networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.learners.backbones import Parameters, Statistics, backbone_for
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    StepLog,
    TaskInfo,
    TaskStream,
)
from metabench.learners.network import ABSENT
from metabench.learners.trainable import Trainable
from metabench.rng import Address

MOMENTUM = 0.1


@dataclass(frozen=True)
class Prototypes:
    """One mean embedding a class: means [T, W, F]; way [T]."""

    means: Tensor
    way: Tensor


@LEARNERS.register("protonet")
@dataclass(eq=False)
class ProtoNet(Trainable[Prototypes]):
    """Classifies by the squared Euclidean distance to each class's mean embedding.

    Defaults are the paper's on Omniglot: Conv-4-64, 60-way training episodes with five queries a
    class, the shot of the test, Adam at 1e-3 halved every 2,000 episodes. Batch normalisation
    uses the running averages of meta-training at meta-test, never the episode's own statistics.
    """

    card = LearnerCard(
        name="protonet",
        family="metric",
        kinds=("classification",),
        citation="Snell, Swersky, Zemel 2017. Prototypical Networks. NeurIPS.",
    )

    train_way: Annotated[
        int, Field(ge=2, description="classes a training episode, at most what there is")
    ] = 60
    train_query: Annotated[int, Field(ge=1, description="queries a class in training")] = 5
    meta_batch: Annotated[int, Field(ge=1, description="episodes a step")] = 1
    meta_lr: Annotated[float, Field(gt=0, description="Adam's rate")] = 1e-3
    halve_every: Annotated[int, Field(ge=1, description="steps after which the rate halves")] = 2000
    filters: Annotated[int, Field(ge=1, description="filters of Conv-4")] = 64
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 64

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Build the embedding; running statistics start at mean 0, variance 1."""
        self.backbone = backbone_for(info.input_shape, self.filters, (self.hidden, self.hidden))
        generator = Address.of("protonet", "init", seed).torch_generator()
        parameters = self.backbone.init(generator)
        probe = torch.zeros(1, *info.input_shape)
        _, statistics = self.backbone(parameters, probe)
        buffers: dict[str, Tensor] = {}
        for i, (mean, variance) in enumerate(statistics):
            buffers |= {
                f"mean{i}": torch.zeros_like(mean),
                f"variance{i}": torch.ones_like(variance),
            }
        self.hold(parameters, device, self.meta_lr, buffers)

    @property
    def running(self) -> Statistics:
        """The running averages of the normalisation statistics."""
        pairs = range(len(self.buffers) // 2)
        return tuple((self.buffers[f"mean{i}"], self.buffers[f"variance{i}"]) for i in pairs)

    def embed(
        self, parameters: Parameters, x: Tensor, statistics: Statistics | None
    ) -> tuple[Tensor, Statistics]:
        """[T, n, *X] -> [T, n, F]."""
        z, used = self.backbone(parameters, x.flatten(0, 1), statistics)
        return z.view(*x.shape[:2], -1), used

    def meta_loss(self, parameters: Parameters, episodes: Episodes) -> tuple[Tensor, Statistics]:
        """Cross-entropy of the query labels (the paper's equation 2 and algorithm 1)."""
        s, q = episodes.support, episodes.query
        both = torch.cat([s.x, q.x], dim=1)
        z, used = self.embed(parameters, both, None)
        z_support, z_query = z.split([s.x.shape[1], q.x.shape[1]], dim=1)
        scores = -squared_distances(z_query, prototypes(z_support, s))
        absent = torch.arange(scores.shape[-1], device=scores.device) >= s.way[:, None]
        scores = scores.masked_fill(absent[:, None], ABSENT)
        losses = F.cross_entropy(scores.mT, episodes.query_y, reduction="none")
        return (losses * q.mask).sum() / q.mask.sum(), used

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """One Adam step a batch of episodes; running statistics follow with momentum 0.1."""
        way = max(min(self.train_way, tasks.distribution.largest_way), tasks.typical_way)
        while True:
            rate = self.meta_lr * 0.5 ** (tasks.step // self.halve_every)
            self.optimiser.param_groups[0]["lr"] = rate
            episodes = tasks.next(self.meta_batch, way=way, query=self.train_query)
            loss, used = self.meta_loss(self.parameters, episodes)
            for i, (mean, variance) in enumerate(used):
                self.buffers[f"mean{i}"].lerp_(mean.detach(), MOMENTUM)
                self.buffers[f"variance{i}"].lerp_(variance.detach(), MOMENTUM)
            yield self.update(loss)

    def adapt(self, support: Support) -> Prototypes:
        """The class means."""
        with torch.no_grad():
            z, _ = self.embed(self.frozen, support.x, self.running)
            return Prototypes(prototypes(z, support), support.way)

    def predict(self, state: Prototypes, query: Query) -> Prediction:
        """Negative squared distances."""
        with torch.no_grad():
            z, _ = self.embed(self.frozen, query.x, self.running)
            scores = -squared_distances(z, state.means)
            return Prediction(mask_absent_classes(scores, state.way))


def prototypes(z: Tensor, support: Support) -> Tensor:
    """Class means [T, W, F] of embeddings [T, S, F] (the paper's equation 1)."""
    member = one_hot(support.y, support.max_way) * support.mask[..., None]
    return member.mT @ z / member.sum(dim=1).clamp_min(1.0)[..., None]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[T, n, F], [T, m, F] -> [T, n, m], by differences: exact where a and b are equal."""
    return (a[:, :, None] - b[:, None]).square().sum(dim=-1)
