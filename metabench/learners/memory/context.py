"""What learners share that condition on the support set in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.errors import MetabenchError
from metabench.learners.backbones import MLP, Backbone, Parameters, Statistics, dense
from metabench.learners.contract import StepLog, TaskInfo, TaskStream
from metabench.learners.memory.codes import decode, draw_codes, encode
from metabench.learners.metric.base import MetaBatch, MetricLearner
from metabench.learners.network import ABSENT


@dataclass(frozen=True)
class AsGiven:
    """No embedding: the numbers of the input, flattened."""

    features: int
    normalised: ClassVar[bool] = False

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Nothing to learn."""
        return {}

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """[N, *X] -> [N, F]."""
        return x.flatten(1), ()


@dataclass(frozen=True)
class Context:
    """What the support sets left; a learner adds its own tensors. way [T]."""

    way: Tensor


S = TypeVar("S", bound=Context)


@dataclass(eq=False)
class ContextLearner(MetricLearner[S]):
    """Reads the support set with its labels; each query is answered from what that left.

    Like a metric learner it embeds images, normalised inductively, and trains episodically, but
    ``fit`` and ``scores`` are a learned network: labels come in as codes (one-hot, or the targets)
    and the answer is read off its outputs, [T, n, max_way] logits or [T, n, D].
    """

    meta_batch: MetaBatch = 16

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Fresh parameters; raises MetabenchError if training has classes without a code."""
        if info.kind == "classification" and (self.train_way or 0) > info.max_way:
            raise MetabenchError(
                f"{self.card.name}: train_way is {self.train_way}, but labels have only "
                f"{info.max_way} codes, the largest way of any episode"
            )
        self.label_size = info.max_way if info.kind == "classification" else info.output_dim
        self.draws = torch.Generator()
        super().setup(info, seed, device)

    def make_embedding(self) -> Backbone:
        """Convolutional for images; vectors are taken as they are unless a backbone is named."""
        made = super().make_embedding()
        return AsGiven(made.inputs) if self.backbone is None and isinstance(made, MLP) else made

    def labels(self, y: Tensor) -> Tensor:
        """Class ids [T, n] or targets [T, n, D] as the network reads them: [T, n, L]."""
        return one_hot(y, self.label_size) if y.dtype == torch.int64 else y

    def forward(
        self, parameters: Parameters, support: Support, query: Query
    ) -> tuple[Tensor, Statistics]:
        """Outputs for the queries in meta-training, and the statistics used."""
        codes = draw_codes(self.info, support.tasks, self.draws)
        z_support, z_query, used = self.embed_together(parameters, support, query)
        coded = replace(support, y=encode(support.y, codes))
        state = self.fit(parameters, z_support, coded)
        return decode(self.scores(parameters, state, z_query), codes), used

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Adam; what a step draws at random comes from a generator of its own."""
        steps = super().meta_fit(tasks, seed)
        while True:
            self.draws = tasks.generator()
            yield next(steps)

    def predict_embedded(self, state: S, query: Query) -> Prediction:
        """The network's answer to each query by itself."""
        output = super().predict_embedded(state, query).output
        if self.info.kind == "classification":
            output = mask_absent_classes(output, state.way)
        return Prediction(output)


def add_mlp(
    parameters: dict[str, Tensor], name: str, sizes: tuple[int, ...], generator: torch.Generator
) -> None:
    """Add fully connected layers of these widths, the inputs first."""
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        dense(parameters, f"{name}.{i}", inputs, outputs, generator)


def mlp(p: Parameters, name: str, x: Tensor) -> Tensor:
    """Apply the layers, with ReLU between them."""
    i = 0
    while f"{name}.{i}.weight" in p:
        x = linear(p, f"{name}.{i}", F.relu(x) if i else x)
        i += 1
    return x


def linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    """One layer."""
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def divides(learner: str, heads: int, width: int) -> None:
    """Raise MetabenchError unless so many heads share the width evenly."""
    if width % heads:
        raise MetabenchError(f"{learner}: {heads} heads do not divide width {width}")


def heads(x: Tensor, count: int) -> Tensor:
    """[T, n, heads * F] -> [T, heads, n, F]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def similarity(queries: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
    """Scaled dot products [..., Q, S], next to nothing where ``allowed`` does not hold."""
    return ((queries @ keys.mT) / keys.shape[-1] ** 0.5).masked_fill(~allowed, ABSENT)


def with_itself(
    scores: Tensor, values: Tensor, queries: Tensor, keys: Tensor, own: Tensor
) -> Tensor:
    """What each query reads that attends to the support and to itself: [..., Q, V].

    scores [..., Q, S] and values [..., S, V] are those of the support; keys [..., Q, K] and own
    [..., Q, V] are the queries' own.
    """
    itself = (queries * keys).sum(-1, keepdim=True) / keys.shape[-1] ** 0.5
    weights = torch.cat([scores, itself], dim=-1).softmax(dim=-1)
    return weights[..., :-1] @ values + weights[..., -1:] * own
