"""Conditional neural processes (Garnelo et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Prediction, Query, Support
from metabench.learners.backbones import Parameters, Statistics
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.knobs import batch, rate, width
from metabench.learners.memory.codes import decode, draw_codes, encode
from metabench.learners.memory.context import Context, ContextLearner, S, add_mlp, mlp
from metabench.learners.metric.base import MetaLr


class Labelled(NamedTuple):
    """Items as a network reads them: embeddings z [T, n, F], labels [T, n, L], mask [T, n]."""

    z: Tensor
    labels: Tensor
    mask: Tensor


@dataclass(eq=False)
class NeuralProcess(ContextLearner[S]):
    """Trained by the likelihood of all labelled items, those of the support set included.

    In regression the outputs are the mean and a raw deviation of a normal distribution of each
    target; the prediction is the mean.
    """

    meta_lr: MetaLr = 5e-4
    width: Annotated[int, Field(ge=1, description="of every layer and representation")] = 128
    encoder_layers: Annotated[int, Field(ge=1, description="layers of an encoder")] = 4
    decoder_layers: Annotated[int, Field(ge=1, description="hidden layers of the decoder")] = 2

    def add_encoder(
        self, parameters: dict[str, Tensor], name: str, inputs: int, generator: torch.Generator
    ) -> None:
        """Layers from an item to its representation."""
        add_mlp(parameters, name, (inputs, *[self.width] * self.encoder_layers), generator)

    def add_decoder(
        self, parameters: dict[str, Tensor], inputs: int, generator: torch.Generator
    ) -> None:
        """Layers from the context and a query to the outputs."""
        outputs = self.label_size * (2 if self.info.kind == "regression" else 1)
        sizes = (inputs, *[self.width] * self.decoder_layers, outputs)
        add_mlp(parameters, "decoder", sizes, generator)

    def loss(self, output: Tensor, episodes: Episodes) -> Tensor:
        """Mean negative log-likelihood of the items [T, n] that ``episodes`` asks for."""
        if self.info.kind == "classification":
            return super().loss(output, episodes)
        mean, deviation = normal(output)
        error = (episodes.query_y - mean) / deviation
        each = (0.5 * error.square() + deviation.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
        mask = episodes.query.mask
        return (each * mask).sum() / mask.sum()

    def meta_loss(self, parameters: Parameters, episodes: Episodes) -> tuple[Tensor, Statistics]:
        """The loss of support and query items given the support set."""
        support, asked = episodes.support, everything(episodes)
        codes = draw_codes(self.info, support.tasks, self.draws)
        *z, used = self.embed_together(parameters, support, episodes.query)
        y = encode(asked.query_y, codes)
        coded = replace(support, y=y[:, : support.y.shape[1]])
        whole = Labelled(torch.cat(z, dim=1), self.labels(y), asked.query.mask)
        output, cost = self.reconstruct(parameters, z[0], coded, whole)
        return self.loss(decode(output, codes), asked) + cost, used

    def reconstruct(
        self, parameters: Parameters, z: Tensor, support: Support, whole: Labelled
    ) -> tuple[Tensor, Tensor | float]:
        """Outputs for all items given the support set, and what the loss has beside their fit."""
        return self.scores(parameters, self.fit(parameters, z, support), whole.z), 0.0

    def predict_embedded(self, state: S, query: Query) -> Prediction:
        """Class scores or means."""
        output = super().predict_embedded(state, query).output
        return Prediction(normal(output)[0] if self.info.kind == "regression" else output)


@dataclass(frozen=True)
class Aggregated(Context):
    """r [T, R]: the mean representation, or those of all classes in a row."""

    r: Tensor


@LEARNERS.register("cnp")
@dataclass(eq=False)
class Cnp(NeuralProcess[Aggregated]):
    """The mean of the encoded support items conditions a decoder (equations 1 to 3).

    In classification items are encoded without their labels and averaged by class, and the classes
    lie side by side in the order of their codes (section 4.3). Sizes are those of the authors'
    notebook. It takes Adam at 1e-4 for 200,000 steps of 64 tasks; the default here is for trainings
    of thousands of steps.
    """

    card = LearnerCard(
        name="cnp",
        family="memory",
        kinds=("classification", "regression"),
        knobs=(rate("meta_lr", 5e-4, 1), batch("meta_batch", 16), width("width", 128)),
        citation="Garnelo et al. 2018. Conditional Neural Processes. ICML.",
    )

    @property
    def groups(self) -> int:
        """How many means there are: one, or one a class."""
        return self.label_size if self.info.kind == "classification" else 1

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Encoder h and decoder g."""
        parameters: dict[str, Tensor] = {}
        inputs = self.embedding.features
        known = 0 if self.info.kind == "classification" else self.label_size
        self.add_encoder(parameters, "encoder", inputs + known, generator)
        self.add_decoder(parameters, inputs + self.groups * self.width, generator)
        return parameters

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Aggregated:
        """Encode and average."""
        labels = self.labels(support.y)
        if self.info.kind == "regression":
            z, labels = torch.cat([z, labels], dim=-1), torch.ones_like(labels[..., :1])
        member = labels * support.mask[..., None]
        total = member.mT @ mlp(parameters, "encoder", z)
        r = total / member.sum(dim=1).clamp_min(1.0)[..., None]
        return Aggregated(support.way, r.flatten(1))

    def scores(self, parameters: Parameters, state: Aggregated, z: Tensor) -> Tensor:
        """Decode each query with the context."""
        r = state.r[:, None].expand(-1, z.shape[1], -1)
        return mlp(parameters, "decoder", torch.cat([r, z], dim=-1))


def everything(episodes: Episodes) -> Episodes:
    """The episodes with their support items asked for as well, before the queries."""
    support, query = episodes.support, episodes.query
    asked = Query(
        torch.cat([support.x, query.x], dim=1), torch.cat([support.mask, query.mask], dim=1)
    )
    return Episodes(support, asked, torch.cat([support.y, episodes.query_y], dim=1))


def normal(output: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [..., D] from outputs [..., 2 D]; the deviation is at least 0.1."""
    mean, raw = output.chunk(2, dim=-1)
    return mean, 0.1 + 0.9 * F.softplus(raw)
