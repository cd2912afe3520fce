"""SNAIL, a simple neural attentive meta-learner (Mishra et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.knobs import batch, rate, width
from metabench.learners.memory.cells import layer
from metabench.learners.memory.context import (
    AsGiven,
    Context,
    ContextLearner,
    linear,
    similarity,
    with_itself,
)
from metabench.tasks.base import bounds

ATTENTION = ((64, 32), (256, 128), (512, 256))
"""Key and value size of the attention before, between and after the two convolutional blocks."""


@dataclass(frozen=True)
class Read(Context):
    """The inputs [T, S, F] of every layer on the support items, which come first of S; count [T]
    of items."""

    inputs: tuple[Tensor, ...]
    count: Tensor


@LEARNERS.register("snail")
@dataclass(eq=False)
class Snail(ContextLearner[Read]):
    """Dilated causal convolutions gather the past, causal attention finds items in it.

    The sequence is the support set with its labels and one query without: attention, a block of
    convolutions, attention, convolutions, attention, and a linear read-out (section 5.1, figure 3).
    A block has so many convolutions as cover a training sequence of length T, with dilations 2, 4,
    ... 2^ceil(log2 T). Everything is causal, so the support items are read once, and each query is
    one further step of its own. Images are embedded by Conv-4 and a linear layer of 64.
    """

    card = LearnerCard(
        name="snail",
        family="memory",
        kinds=("classification", "regression"),
        knobs=(rate("meta_lr", 1e-3, 1), batch("meta_batch", 16), width("channels", 128)),
        citation="Mishra et al. 2018. A Simple Neural Attentive Meta-Learner. ICLR.",
        sequential=True,
    )

    channels: Annotated[int, Field(ge=1, description="filters of a causal convolution")] = 128
    embedded: Annotated[int, Field(ge=1, description="size of an embedded image")] = 64

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of the convolutions of a block."""
        length = max(1, bounds(self.info.shape.way)[1]) * bounds(self.info.shape.shot)[1] + 1
        return tuple(2**i for i in range(1, math.ceil(math.log2(length)) + 1))

    @property
    def plan(self) -> tuple[tuple[int, ...], ...]:
        """The layers in order: (key, value) of an attention, (dilation,) of a convolution."""
        first, second, third = ATTENTION
        block = tuple((dilation,) for dilation in self.dilations)
        return first, *block, second, *block, third

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """All layers; each adds its outputs to its inputs."""
        parameters: dict[str, Tensor] = {}

        def add(name: str, inputs: int, outputs: int) -> None:
            layer(parameters, name, inputs, outputs, generator)

        size = self.embedding.features
        if not isinstance(self.embedding, AsGiven):
            add("embed", size, self.embedded)
            size = self.embedded
        size += self.label_size
        for i, sizes in enumerate(self.plan):
            if len(sizes) == 1:
                # Kernel 2: the weights on the present and on the past, for both gates.
                add(f"{i}.present", size, 2 * self.channels)
                add(f"{i}.past", size, 2 * self.channels)
                size += self.channels
            else:
                key, value = sizes
                add(f"{i}.attention", size, 2 * key + value)
                size += value
        add("output", size, self.label_size)
        return parameters

    def items(self, p: Parameters, z: Tensor, labels: Tensor) -> Tensor:
        """The sequence's elements [T, n, F + L]."""
        z = z if isinstance(self.embedding, AsGiven) else linear(p, "embed", z)
        return torch.cat([z, labels], dim=-1)

    def attended(self, p: Parameters, i: int, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values of attention layer i."""
        key, value = self.plan[i]
        return linear(p, f"{i}.attention", x).split((key, key, value), dim=-1)

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Read:
        """Read the support items in order, without gaps."""
        p = parameters
        order = support.mask.int().argsort(dim=1, descending=True, stable=True)[..., None]
        x = self.items(p, z, self.labels(support.y))
        x = x.gather(1, order.expand_as(x))
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        inputs = []
        for i, sizes in enumerate(self.plan):
            inputs.append(x)
            if len(sizes) == 1:
                past = F.pad(x, (0, 0, sizes[0], 0))[:, : x.shape[1]]
                new = dense_block(p, i, x, past)
            else:
                asked, keys, values = self.attended(p, i, x)
                new = similarity(asked, keys, causal).softmax(dim=-1) @ values
            x = torch.cat([x, new], dim=-1)
        return Read(support.way, tuple(inputs), support.mask.sum(dim=1))

    def scores(self, parameters: Parameters, state: Read, z: Tensor) -> Tensor:
        """Each query as the element after the last support item."""
        p = parameters
        x = self.items(p, z, z.new_zeros(*z.shape[:2], self.label_size))
        read = torch.arange(state.inputs[0].shape[1], device=z.device) < state.count[:, None]
        for i, (sizes, before) in enumerate(zip(self.plan, state.inputs, strict=True)):
            if len(sizes) == 1:
                at = state.count - sizes[0]
                rows = torch.arange(len(x), device=z.device)
                past = before[rows, at.clamp_min(0)] * (at >= 0)[:, None]
                new = dense_block(p, i, x, past[:, None])
            else:
                _, keys, values = self.attended(p, i, before)
                asked, own_key, own_value = self.attended(p, i, x)
                scores = similarity(asked, keys, read[:, None])
                new = with_itself(scores, values, asked, own_key, own_value)
            x = torch.cat([x, new], dim=-1)
        return linear(p, "output", x)


def dense_block(p: Parameters, i: int, x: Tensor, past: Tensor) -> Tensor:
    """The gated activations of a causal convolution of kernel 2: [T, n, F] -> [T, n, channels]."""
    gates = linear(p, f"{i}.present", x) + linear(p, f"{i}.past", past)
    filtered, gate = gates.chunk(2, dim=-1)
    return filtered.tanh() * gate.sigmoid()
