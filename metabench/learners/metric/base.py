"""What metric learners share: an embedding, episodic training and running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Prediction, Query, Support, one_hot
from metabench.learners.backbones import (
    Backbone,
    BackboneName,
    Parameters,
    Statistics,
    backbone_for,
    follow,
    running_buffers,
    running_statistics,
)
from metabench.learners.contract import State, StepLog, TaskInfo, TaskStream
from metabench.learners.embedding import embedded
from metabench.learners.knobs import batch, rate, width
from metabench.learners.network import ABSENT
from metabench.learners.trainable import Trainable
from metabench.rng import Address

TrainWay = Annotated[
    int | None,
    Field(ge=2, description="classes a training episode, at most what there is; None: the suite's"),
]
TrainQuery = Annotated[
    int | None, Field(ge=1, description="queries a class in training; None: the suite's")
]
MetaBatch = Annotated[
    int | None,
    Field(ge=1, description="episodes a step; None: 1 in classification, 25 in regression"),
]
MetaLr = Annotated[float, Field(gt=0, description="Adam's rate")]
HalveEvery = Annotated[
    int | None, Field(ge=1, description="steps after which the rate halves; None: never")
]
Clip = Annotated[float | None, Field(gt=0, description="largest norm of the gradient; None: any")]
Normalised = Annotated[
    bool | None, Field(description="batch normalisation; None: in convolutional networks only")
]


WIDTHS = (width("hidden", 64, "regression"), width("filters", 64, "classification"))
BATCHES = (batch("meta_batch", 25, "regression"), batch("meta_batch", 1, "classification"))
KNOBS = (rate("meta_lr", 1e-3, 1), *BATCHES, *WIDTHS)
"""Of learners with these defaults."""


@dataclass(eq=False)
class MetricLearner(Trainable[State]):
    """Embeds support and query, fits a head to the support in closed form, scores the queries.

    A learner says what its head is: ``fit`` and ``scores``, pure functions of embeddings, and
    ``head`` if it has parameters of its own. Everything is meta-trained end to end on episodes.

    In meta-training a batch is normalised by the statistics of all its items, support and query
    of all ``meta_batch`` episodes pooled: at meta-test one fixed set of statistics, their running
    average, serves every episode, and the pooled ones are its least noisy estimate. A support or
    query set at meta-test never contributes, so that predictions are inductive by construction.
    """

    differentiable: ClassVar[bool] = True
    """In the support and the query, whose gradients stop at nothing."""

    train_way: TrainWay = None
    train_query: TrainQuery = None
    meta_batch: MetaBatch = None
    meta_lr: MetaLr = 1e-3
    halve_every: HalveEvery = None
    clip: Clip = None
    backbone: Annotated[
        BackboneName | None, Field(description="embedding; None: Conv-4 on images, else an MLP")
    ] = None
    filters: Annotated[int, Field(ge=1, description="filters of a convolutional network")] = 64
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 64
    normalised: Normalised = None

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Build embedding and head; running statistics start at mean 0, variance 1."""
        self.info = info
        self.batch = self.meta_batch or (25 if info.kind == "regression" else 1)
        self.embedding = self.make_embedding()
        generator = Address.of(self.card.name, "init", seed).torch_generator()
        parameters = self.embedding.init(generator)
        parameters |= self.head(generator)
        self.hold(parameters, device, self.meta_lr, running_buffers(self.norms(parameters)))

    def make_embedding(self) -> Backbone:
        """The backbone that the options name."""
        return backbone_for(
            self.info.input_shape,
            self.filters,
            (self.hidden, self.hidden),
            name=self.backbone,
            normalised=self.normalised,
            fused=True,
        )

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters of the head."""
        return {}

    def norms(self, parameters: Parameters) -> Statistics:
        """Statistics of some input, for how many there are and their shapes."""
        return self.embedding(parameters, torch.zeros(1, *self.info.input_shape))[1]

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> State:
        """The head fitted to the support's embeddings z [T, S, F]."""
        raise NotImplementedError

    def scores(self, parameters: Parameters, state: State, z: Tensor) -> Tensor:
        """Logits [T, Q, W], -inf for absent classes, or targets [T, Q, D] of z [T, Q, F]."""
        raise NotImplementedError

    @property
    def running(self) -> Statistics:
        """The running averages of the normalisation statistics."""
        return running_statistics(self.buffers)

    def embed(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """[T, n, *X] -> [T, n, F]; ``mask`` [T, n] says which items make the statistics."""
        rows = None if mask is None else mask.flatten()
        z, used = self.embedding(parameters, x.flatten(0, 1), statistics, rows)
        return z.view(*x.shape[:2], -1), used

    def embed_together(
        self, parameters: Parameters, support: Support, query: Query
    ) -> tuple[Tensor, Tensor, Statistics]:
        """Embeddings of support and query, normalised by the statistics of both."""
        both = torch.cat([support.x, query.x], dim=1)
        mask = unless_full(torch.cat([support.mask, query.mask], dim=1))
        z, used = self.embed(parameters, both, None, mask)
        z_support, z_query = z.split([support.x.shape[1], query.x.shape[1]], dim=1)
        return z_support, z_query, used

    def forward(
        self, parameters: Parameters, support: Support, query: Query
    ) -> tuple[Tensor, Statistics]:
        """Scores of the queries in meta-training, and the statistics used."""
        z_support, z_query, used = self.embed_together(parameters, support, query)
        state = self.fit(parameters, z_support, support)
        return self.scores(parameters, state, z_query), used

    def loss(self, output: Tensor, episodes: Episodes) -> Tensor:
        """Cross-entropy over the task's classes, or squared error; mean over the queries."""
        mask, y = episodes.query.mask, episodes.query_y
        if self.info.kind == "regression":
            losses = (output - y).square().mean(dim=-1)
        else:
            present = classes_present(episodes.support.way, output.shape[-1])
            scores = output.masked_fill(~present[:, None], ABSENT)
            losses = F.cross_entropy(scores.mT, y, reduction="none")
        return (losses * mask).sum() / mask.sum()

    def meta_loss(self, parameters: Parameters, episodes: Episodes) -> tuple[Tensor, Statistics]:
        """The loss of the queries, and the statistics used."""
        output, used = self.forward(parameters, episodes.support, episodes.query)
        return self.loss(output, episodes), used

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """One Adam step a batch of episodes; running statistics follow with momentum 0.1."""
        shape: dict[str, Any] = {}
        if self.info.kind == "classification":
            shape["query"] = self.train_query
            if self.train_way is not None:
                way = min(self.train_way, tasks.distribution.largest_way)
                shape["way"] = max(way, tasks.typical_way)
        while True:
            if self.halve_every is not None:
                self.set_rate(self.meta_lr * 0.5 ** (tasks.step // self.halve_every))
            loss, used = self.meta_loss(self.parameters, tasks.next(self.batch, **shape))
            follow(self.buffers, used)
            yield self.update(loss, clip=self.clip)

    def embed_items(self, x: Tensor) -> Tensor:
        """[N, *X] -> [N, F], normalised by the running averages."""
        return self.embedding(self.frozen, x, self.running)[0]

    def adapt_embedded(self, support: Support) -> State:
        """The head fitted to the support's embeddings."""
        return self.fit(self.frozen, support.x, support)

    def predict_embedded(self, state: State, query: Query) -> Prediction:
        """The head's scores of the queries' embeddings, each by itself."""
        return Prediction(self.scores(self.frozen, state, query.x))

    def adapt(self, support: Support) -> State:
        """The head fitted to the support."""
        return self.adapt_embedded(embedded(self, support))

    def predict(self, state: State, query: Query) -> Prediction:
        """The head's scores, each query by itself."""
        return self.predict_embedded(state, embedded(self, query))


def unless_full(mask: Tensor) -> Tensor | None:
    """The mask, or None where it holds everywhere."""
    return None if bool(mask.all()) else mask


def classes_present(way: Tensor, classes: int) -> Tensor:
    """[T] -> [T, classes] bool: which class ids a task has."""
    return torch.arange(classes, device=way.device) < way[:, None]


def membership(support: Support) -> Tensor:
    """[T, S, W]: 1 where an item is of the class, 0 elsewhere and for padding."""
    return one_hot(support.y, support.max_way) * support.mask[..., None]
