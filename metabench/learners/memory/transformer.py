"""A transformer that learns in context from the support set (Müller et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo
from metabench.learners.knobs import batch, rate, width
from metabench.learners.memory.cells import layer
from metabench.learners.memory.context import (
    Context,
    ContextLearner,
    divides,
    heads,
    linear,
    similarity,
    with_itself,
)
from metabench.learners.metric.base import MetaLr


@dataclass(frozen=True)
class Prompt(Context):
    """keys, values [T, H, S, width / H] of every layer's attention; mask [T, S]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor


@LEARNERS.register("transformer")
@dataclass(eq=False)
class Transformer(ContextLearner[Prompt]):
    """Support items are tokens of x and label together; a query is a token of x alone.

    Support items attend to each other, and each query to the support items and itself only, as in
    figure 2 of the paper. There are no positions, so the order of the support set does not matter.
    Layers normalise before their two blocks. Sizes are those of the small model in Garg et al.
    2022; the rate is for trainings of thousands of steps, theirs is 1e-4 for 500,000.
    """

    card = LearnerCard(
        name="transformer",
        family="memory",
        kinds=("classification", "regression"),
        knobs=(rate("meta_lr", 5e-4, 1), batch("meta_batch", 16), width("layers", 6)),
        citation="Müller et al. 2022. Transformers Can Do Bayesian Inference. ICLR.",
    )

    meta_lr: MetaLr = 5e-4
    width: Annotated[int, Field(ge=1, description="of a token")] = 128
    layers: Annotated[int, Field(ge=1, description="attention and fully connected block")] = 6
    heads: Annotated[int, Field(ge=1, description="of the attention; they divide width")] = 4

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Fresh parameters; raises MetabenchError unless the heads divide the width."""
        divides(self.card.name, self.heads, self.width)
        super().setup(info, seed, device)

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Token maps, layers and the read-out."""
        parameters: dict[str, Tensor] = {}
        width = self.width

        def add(name: str, inputs: int, outputs: int) -> None:
            layer(parameters, name, inputs, outputs, generator)

        def add_norm(name: str) -> None:
            parameters[f"{name}.scale"] = torch.ones(width)
            parameters[f"{name}.shift"] = torch.zeros(width)

        add("item", self.embedding.features, width)
        add("label", self.label_size, width)
        parameters["unknown"] = torch.zeros(width)
        for i in range(self.layers):
            for norm in ("before_attention", "before_mlp"):
                add_norm(f"{i}.{norm}")
            add(f"{i}.attention", width, 3 * width)
            add(f"{i}.found", width, width)
            add(f"{i}.wide", width, 4 * width)
            add(f"{i}.narrow", 4 * width, width)
        add_norm("last")
        add("output", width, self.label_size)
        return parameters

    def projected(self, p: Parameters, i: int, tokens: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [T, H, n, width / H] of layer i."""
        joint = linear(p, f"{i}.attention", norm(p, f"{i}.before_attention", tokens))
        return tuple(heads(part, self.heads) for part in joint.chunk(3, dim=-1))

    def after(self, p: Parameters, i: int, tokens: Tensor, found: Tensor) -> Tensor:
        """The tokens after layer i, whose attention found [T, H, n, width / H]."""
        tokens = tokens + linear(p, f"{i}.found", found.transpose(1, 2).flatten(2))
        wide = F.gelu(linear(p, f"{i}.wide", norm(p, f"{i}.before_mlp", tokens)))
        return tokens + linear(p, f"{i}.narrow", wide)

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Prompt:
        """Run the support items through all layers, and keep what queries attend to."""
        p = parameters
        tokens = linear(p, "item", z) + linear(p, "label", self.labels(support.y))
        keys, values = [], []
        for i in range(self.layers):
            asked, key, value = self.projected(p, i, tokens)
            weights = similarity(asked, key, support.mask[:, None, None]).softmax(dim=-1)
            tokens = self.after(p, i, tokens, weights @ value)
            keys.append(key)
            values.append(value)
        return Prompt(support.way, tuple(keys), tuple(values), support.mask)

    def scores(self, parameters: Parameters, state: Prompt, z: Tensor) -> Tensor:
        """Run each query through all layers."""
        p = parameters
        tokens = linear(p, "item", z) + p["unknown"]
        for i, (keys, values) in enumerate(zip(state.keys, state.values, strict=True)):
            asked, own_key, own_value = self.projected(p, i, tokens)
            scores = similarity(asked, keys, state.mask[:, None, None])
            found = with_itself(scores, values, asked, own_key, own_value)
            tokens = self.after(p, i, tokens, found)
        return linear(p, "output", norm(p, "last", tokens))


def norm(p: Parameters, name: str, tokens: Tensor) -> Tensor:
    """Layer normalisation."""
    return F.layer_norm(tokens, tokens.shape[-1:], p[f"{name}.scale"], p[f"{name}.shift"])
