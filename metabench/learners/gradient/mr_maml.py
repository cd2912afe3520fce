"""Meta-regularised MAML (Yin, Tucker, Zhou, Levine and Finn 2020), on weights and activations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Prediction, Query, Support
from metabench.learners.backbones import MLP, Parameters, Statistics, backbone_for, dense
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo, TaskStream
from metabench.learners.gradient.base import (
    HEAD_STD,
    KNOBS,
    Adapted,
    GradientLearner,
    Items,
    query_of,
    support_of,
)
from metabench.learners.network import Network

ENCODER = "encoder."
"""What the names of the meta-parameters begin with that no task changes."""


@LEARNERS.register("mr-maml")
@dataclass(eq=False)
class MrMaml(GradientLearner):
    """MAML on a code of the input, whose information about the task is limited.

    An encoder, which tasks do not change, maps x to a code z, and the inner loop adapts an MLP on
    z (section 4). ``weights``: the encoder's kernels have a Gaussian posterior, drawn once a task;
    its divergence from N(0, 1), summed over weights, is added to the meta-loss ``beta`` times.
    ``activations``: z is Gaussian given x, drawn for every item; its divergence from N(0, 1) is
    averaged over the query's items and the dimensions of z. At meta-test means are used.

    Defaults are those of the authors' sinusoid notebook. Deviations of weights start so small there
    (softplus of -50) that they stay 0 for all purposes, and the divergence is a weight decay. Every
    meta-step takes a new Adam, which moves each weight by the meta-rate in the direction of its
    gradient's sign, however small the gradient; for activations the encoder's alone. On images the
    encoder is a Conv-4.
    """

    card = LearnerCard(
        name="mr-maml",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=KNOBS,
        citation="Yin, Tucker, Zhou, Levine, Finn 2020. Meta-Learning without Memorization. ICLR.",
    )

    std: ClassVar[float] = 0.15

    regulariser: Annotated[
        Literal["weights", "activations"], Field(description="what the divergence is of")
    ] = "weights"
    beta: Annotated[
        float | None,
        Field(ge=0, description="weight of the divergence; None: 5e-5 weights, 5 activations"),
    ] = None
    encoder_hidden: Annotated[
        int | None,
        Field(ge=1, description="width of an MLP encoder; None: 100 weights, 80 activations"),
    ] = None
    code: Annotated[
        int | None, Field(ge=1, description="dimensions of z; None: 5 regression, 64 otherwise")
    ] = None
    spread: Annotated[
        float, Field(description="weights: softplus of this is their first deviation")
    ] = -50.0
    fresh_adam: Annotated[
        bool | None, Field(description="a new Adam every meta-step; None: in regression")
    ] = None

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the encoder and the network that reads its codes."""
        self.on_weights = self.regulariser == "weights"
        self.strength = (5e-5 if self.on_weights else 5.0) if self.beta is None else self.beta
        self.fresh = info.kind == "regression" if self.fresh_adam is None else self.fresh_adam
        super().setup(info, seed, device)
        self.loops = device.type == "cpu" and not isinstance(self.encoder, MLP)

    def network_for(self, info: TaskInfo) -> Network:
        """The encoder, and what the inner loop adapts: an MLP on codes."""
        regression = info.kind == "regression"
        std = self.std if regression else None
        self.encoder = backbone_for(
            info.input_shape,
            self.filters,
            (self.encoder_hidden or (100 if self.on_weights else 80),),
            name=self.backbone,
            strided=self.strided,
            normalised=self.normalised,
            std=std,
        )
        self.size = self.code or (5 if regression else 64)
        return Network(MLP(self.size, (self.hidden, self.hidden), std), info, std=std or HEAD_STD)

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The network's weights, the encoder's, and what gives their deviations or those of z."""
        encoder = self.encoder.init(generator)
        std = self.std if self.info.kind == "regression" else None
        dense(encoder, "code", self.encoder.features, self.size, generator, std)
        if self.on_weights:
            kernels = [k for k in encoder if k.endswith((".weight", ".kernel"))]
            encoder |= {f"spread.{k}": torch.full_like(encoder[k], self.spread) for k in kernels}
        else:
            dense(encoder, "spread", self.encoder.features, self.size, generator, std)
        return weights | {ENCODER + k: p for k, p in encoder.items()}

    def schedule(self, tasks: TaskStream) -> None:
        """Noise comes from this step's generator; a fresh Adam forgets its moments."""
        self.draws = tasks.generator()
        for name, parameter in self.parameters.items():
            if self.fresh and (self.on_weights or name.startswith(ENCODER)):
                self.optimiser.state.pop(parameter, None)

    def meta_gradient(
        self, meta: Parameters, episodes: Episodes
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Mean gradient and mean regularised loss over the tasks, with noise of each task's own."""

        def one(
            support: Items, query: Items, noise: Parameters
        ) -> tuple[dict[str, Tensor], Tensor]:
            return self.gradient_of(lambda p: self.noisy_loss(p, support, query, noise), meta)

        support, query = support_of(episodes.support), query_of(episodes)
        gradients, losses = self.lift(one)(support, query, self.noise(meta, episodes))
        return {k: g.mean(0) for k, g in gradients.items()}, losses.mean()

    def noise(self, meta: Parameters, episodes: Episodes) -> dict[str, Tensor]:
        """Standard normal, for each kernel of the encoder or for codes [T, S, Z] and [T, Q, Z]."""
        tasks = torch.Size([episodes.tasks])
        kernels = [k for k in meta if k.startswith(ENCODER) and self.spread_of(k) in meta]
        shapes = {k: tasks + meta[k].shape for k in kernels}
        if not self.on_weights:
            masks = {"support": episodes.support.mask, "query": episodes.query.mask}
            shapes = {k: torch.Size([*mask.shape, self.size]) for k, mask in masks.items()}
        x = episodes.support.x
        return {
            k: torch.randn(shape, generator=self.draws, dtype=x.dtype).to(x.device)
            for k, shape in shapes.items()
        }

    def noisy_loss(
        self, meta: Parameters, support: Items, query: Items, noise: Parameters
    ) -> Tensor:
        """The task's loss on random codes, and the divergence ``beta`` times."""
        if self.on_weights:
            deviations = {k: F.softplus(meta[self.spread_of(k)]) for k in noise}
            divergences = [divergence(meta[k], d).sum() for k, d in deviations.items()]
            meta = dict(meta) | {k: meta[k] + d * noise[k] for k, d in deviations.items()}
        z, deviation, statistics = self.encode(meta, support.x, None, support.mask)
        z_query, query_deviation, _ = self.encode(meta, query.x, statistics, query.mask)
        if not self.on_weights:
            z = z + deviation * noise["support"]
            each = divergence(z_query, query_deviation).mean(dim=1) * query.mask
            divergences = [each.sum() / query.mask.sum()]
            z_query = z_query + query_deviation * noise["query"]
        loss = self.task_loss(meta, support._replace(x=z), query._replace(x=z_query))
        return loss + self.strength * torch.stack(divergences).sum()

    def spread_of(self, name: str) -> str:
        """The name of what a kernel's deviation is the softplus of."""
        return f"{ENCODER}spread.{name.removeprefix(ENCODER)}"

    def encode(
        self, meta: Parameters, x: Tensor, statistics: Statistics | None, mask: Tensor
    ) -> tuple[Tensor, Tensor, Statistics]:
        """Mean and deviation of the codes [N, Z] of one task's items, and the statistics used."""
        p = {k.removeprefix(ENCODER): v for k, v in meta.items() if k.startswith(ENCODER)}
        h, used = self.encoder(p, x, statistics, mask)
        mean = F.linear(h, p["code.weight"], p["code.bias"])
        if self.on_weights:
            return mean, torch.zeros_like(mean), used
        return mean, F.softplus(F.linear(h, p["spread.weight"], p["spread.bias"])), used

    def adapt(self, support: Support) -> Adapted:
        """The inner loop on mean codes."""

        def one(items: Items) -> tuple[Tensor, Statistics]:
            z, _, used = self.encode(self.frozen, items.x, None, items.mask)
            return z, used

        z, statistics = self.lift(one)(support_of(support))
        return replace(super().adapt(replace(support, x=z)), statistics=statistics)

    def predict(self, state: Adapted, query: Query) -> Prediction:
        """The adapted network's outputs for mean codes."""

        def one(statistics: Statistics, x: Tensor, mask: Tensor) -> Tensor:
            return self.encode(state.common, x, statistics, mask)[0]

        z = self.lift(one)(state.statistics, query.x, query.mask)
        return super().predict(state, replace(query, x=z))


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """KL(N(mean, deviation^2) | N(0, 1)), element by element."""
    return (deviation.square() + mean.square() - 1) / 2 - deviation.log()
