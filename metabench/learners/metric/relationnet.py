"""Relation networks (Sung et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Query, Support, mask_absent_classes, one_hot
from metabench.learners.backbones import Backbone, Conv4, Parameters, Statistics, dense
from metabench.learners.backbones.base import Norms, affine, kernel
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.metric.base import (
    KNOBS,
    Clip,
    HalveEvery,
    MetricLearner,
    TrainQuery,
    classes_present,
    membership,
    unless_full,
)

BLOCKS = 2
UNITS = 8


@dataclass(frozen=True)
class Relation:
    """The relation module g: a score between 0 and 1 for a pair of feature maps [C, h, w].

    Two blocks of 3x3 convolution, normalisation, ReLU and 2x2 max pooling on the concatenated
    channels, then eight units and one. On vectors, maps of one pixel, the kernels are 1x1.
    """

    shape: tuple[int, int, int]
    normalised: bool

    @property
    def size(self) -> int:
        """Of a kernel."""
        return 3 if max(self.shape[1:]) > 1 else 1

    @property
    def norms(self) -> int:
        """How many layers are normalised."""
        return BLOCKS if self.normalised else 0

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """He-normal kernels; as in the released code small linear weights and biases of 1."""
        parameters: dict[str, Tensor] = {}
        channels, height, width = self.shape
        for i in range(BLOCKS):
            into = (2 if i == 0 else 1) * channels
            ends = (into, channels)
            kernel(parameters, f"relation{i}", ends, self.size, generator, self.normalised)
            height, width = (halved(n) for n in (height, width))
        for name, into, out in (
            ("units", channels * height * width, UNITS),
            ("score", UNITS, 1),
        ):
            dense(parameters, name, into, out, generator, std=0.01)
            parameters[f"{name}.bias"] += 1.0
        return parameters

    def __call__(
        self,
        p: Parameters,
        classes: Tensor,
        queries: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Scores [T, Q, W] of every query [T, Q, C, h, w] with every class [T, W, C, h, w].

        ``mask`` [T, Q, W] says which pairs make the statistics.
        """
        # Linear in the pair, so that each is convolved once and not once a pair.
        of_class, of_query = p["relation0.kernel"].chunk(2, dim=1)
        left, right = self.convolve(classes, of_class), self.convolve(queries, of_query)
        pairs = left[:, None] + right[:, :, None]  # [T, Q, W, C, h, w]
        norm = Norms(p, statistics, None if mask is None else mask.flatten())
        x = self.block(p, "relation0", pairs.flatten(0, 2), norm)
        x = F.conv2d(x, p["relation1.kernel"], padding=self.size // 2)
        x = self.block(p, "relation1", x, norm).flatten(1)
        x = F.relu(F.linear(x, p["units.weight"], p["units.bias"]))
        score = F.linear(x, p["score.weight"], p["score.bias"]).sigmoid()
        return score.view(pairs.shape[:3]), norm.statistics

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """[T, n, C, h, w] -> [T, n, C, h, w]."""
        made = F.conv2d(x.flatten(0, 1), weight, padding=self.size // 2)
        return made.unflatten(0, x.shape[:2])

    def block(self, p: Parameters, name: str, x: Tensor, norm: Norms) -> Tensor:
        """What follows a convolution."""
        x = norm(name, x) if self.normalised else affine(x, None, p[f"{name}.shift"])
        return F.relu(F.max_pool2d(x, [2 if n > 1 else 1 for n in x.shape[-2:]]))


def halved(size: int) -> int:
    """A map's side after pooling; one pixel stays."""
    return max(1, size // 2)


@dataclass(frozen=True)
class Sums:
    """One summed feature map a class: maps [T, W, C, h, w]; way [T]."""

    maps: Tensor
    way: Tensor


@LEARNERS.register("relationnet")
@dataclass(eq=False)
class RelationNet(MetricLearner[Sums]):
    """Learns the comparison itself: a network scores how a query relates to each class.

    A class is the sum of its items' feature maps, as in the paper, and not their mean: a support
    set given twice is another input, and the shot of the test should be that of meta-training.
    Scores are fitted by squared error to 1 for the query's class and 0 for the others.

    Conv-4 halves the image in its first two blocks only, to leave the relation module a map; on
    vectors, and behind ResNet-12, that works on vectors. All convolutions are padded, so that the
    maps of Omniglot are 7 x 7 where the released code's are 5 x 5. Adam at 1e-3 halved every
    100,000 episodes, gradients at most 0.5 long (there each network's own), and 15 queries a class
    are those of the released code on 5-way 5-shot Omniglot. It normalises with the batch's own
    statistics at meta-test too; here, as everywhere, these are running averages of meta-training.
    """

    card = LearnerCard(
        name="relationnet",
        family="metric",
        kinds=("classification",),
        knobs=KNOBS,
        citation="Sung et al. 2018. Learning to Compare: Relation Network for Few-Shot Learning. "
        "CVPR.",
    )

    train_query: TrainQuery = 15
    halve_every: HalveEvery = 100_000
    clip: Clip = 0.5

    def make_embedding(self) -> Backbone:
        """The backbone that the options name; Conv-4 with maps, not vectors."""
        embedding = super().make_embedding()
        if isinstance(embedding, Conv4):
            return replace(embedding, halvings=2)
        return embedding

    @property
    def relation(self) -> Relation:
        """The relation module, without parameters."""
        embedding = self.embedding
        shape = embedding.map if isinstance(embedding, Conv4) else (embedding.features, 1, 1)
        return Relation(shape, embedding.normalised)

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The relation module's parameters."""
        return self.relation.init(generator)

    def norms(self, parameters: Parameters) -> Statistics:
        """Those of the embedding, then those of the relation module."""
        probe = torch.zeros(1, 1, *self.relation.shape)
        return super().norms(parameters) + self.relation(parameters, probe, probe)[1]

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Sums:
        """The sums over each class's items."""
        sums = membership(support).mT @ z
        return Sums(sums.unflatten(-1, self.relation.shape), support.way)

    def scores(self, parameters: Parameters, state: Sums, z: Tensor) -> Tensor:
        """Relation scores [T, Q, W] between 0 and 1."""
        running = self.running
        statistics = running[len(running) - self.relation.norms :]
        queries = z.unflatten(-1, self.relation.shape)
        scores, _ = self.relation(parameters, state.maps, queries, statistics)
        return mask_absent_classes(scores, state.way)

    def forward(
        self, parameters: Parameters, support: Support, query: Query
    ) -> tuple[Tensor, Statistics]:
        """Scores of every query with every class, both normalised by the batch's statistics."""
        z_support, z_query, used = self.embed_together(parameters, support, query)
        sums = self.fit(parameters, z_support, support)
        queries = z_query.unflatten(-1, self.relation.shape)
        pairs = query.mask[..., None] & classes_present(support.way, sums.maps.shape[1])[:, None]
        scores, more = self.relation(parameters, sums.maps, queries, None, unless_full(pairs))
        return scores, used + more

    def loss(self, output: Tensor, episodes: Episodes) -> Tensor:
        """Mean squared error to the one-hot label over the pairs of a query and a class."""
        way = classes_present(episodes.support.way, output.shape[-1])
        pairs = episodes.query.mask[..., None] & way[:, None]
        errors = (output - one_hot(episodes.query_y, output.shape[-1])).square()
        return (errors * pairs).sum() / pairs.sum()
