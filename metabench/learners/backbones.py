"""Embedding networks as pure functions of a dictionary of parameters.

Normalisation is inductive by construction: the statistics are a value, computed from a batch that
the caller chooses (the support set, a meta-training batch) and handed to every later call. A query
never contributes to the statistics it is normalised with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

Parameters = Mapping[str, Tensor]
Statistics = tuple[tuple[Tensor, Tensor], ...]
"""(mean, variance) of each normalised layer, each [channels]."""

EPSILON = 1e-5


class Backbone(Protocol):
    """Inputs [N, *X] -> features [N, ``features``]."""

    @property
    def features(self) -> int:
        """Size of the embedding."""
        ...

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters on the CPU."""
        ...

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Features, and the statistics used: those given, or those of the unmasked rows of x."""
        ...


def dense(
    parameters: dict[str, Tensor],
    name: str,
    inputs: int,
    outputs: int,
    generator: torch.Generator,
    std: float | None = None,
) -> None:
    """Add a layer: normal weights of deviation ``std`` (He et al. 2015 if None), zero bias."""
    std = math.sqrt(2.0 / inputs) if std is None else std
    weight = torch.empty(outputs, inputs)
    torch.nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)
    parameters[f"{name}.weight"] = weight
    parameters[f"{name}.bias"] = torch.zeros(outputs)


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ReLU after each; inputs are flattened; no normalisation."""

    inputs: int
    hidden: tuple[int, ...]
    std: float | None = None

    @property
    def features(self) -> int:
        """Width of the last layer."""
        return self.hidden[-1]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Truncated normal weights, zero biases."""
        parameters: dict[str, Tensor] = {}
        sizes = (self.inputs, *self.hidden)
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            dense(parameters, f"layer{i}", fan_in, fan_out, generator, self.std)
        return parameters

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Features [N, hidden[-1]]; there are no statistics."""
        x = x.flatten(1)
        for i in range(len(self.hidden)):
            x = F.relu(F.linear(x, parameters[f"layer{i}.weight"], parameters[f"layer{i}.bias"]))
        return x, ()


@dataclass(frozen=True)
class Conv4:
    """Four blocks of 3x3 convolution, normalisation and ReLU (Vinyals et al. 2016, Conv-4).

    Each block halves the image: by max pooling, or by a stride of 2 (``strided``, as in the
    Omniglot network of Finn et al. 2017).
    """

    shape: tuple[int, int, int]
    filters: int
    strided: bool

    @property
    def features(self) -> int:
        """Filters times what is left of the image."""
        height, width = self.shape[1:]
        for _ in range(4):
            height, width = (
                ((height + 1) // 2, (width + 1) // 2) if self.strided else (height // 2, width // 2)
            )
        return self.filters * height * width

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """He-normal kernels without bias; scale 1 and shift 0 after normalisation."""
        parameters: dict[str, Tensor] = {}
        channels = self.shape[0]
        for i in range(4):
            kernel = torch.empty(self.filters, channels, 3, 3)
            torch.nn.init.kaiming_normal_(kernel, nonlinearity="relu", generator=generator)
            parameters[f"block{i}.kernel"] = kernel
            parameters[f"block{i}.scale"] = torch.ones(self.filters)
            parameters[f"block{i}.shift"] = torch.zeros(self.filters)
            channels = self.filters
        return parameters

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Features [N, filters * height * width]."""
        used = []
        for i in range(4):
            x = F.conv2d(
                x, parameters[f"block{i}.kernel"], padding=1, stride=2 if self.strided else 1
            )
            mean, variance = statistics[i] if statistics is not None else moments(x, mask)
            used.append((mean, variance))
            # Written from primitives: vmap over F.batch_norm gives wrong second derivatives.
            scale = parameters[f"block{i}.scale"] * torch.rsqrt(variance + EPSILON)
            shift = parameters[f"block{i}.shift"] - mean * scale
            x = F.relu(x * scale[:, None, None] + shift[:, None, None])
            if not self.strided:
                x = F.max_pool2d(x, 2)
        return x.flatten(1), tuple(used)


def moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance per channel of [N, C, H, W] over the rows where ``mask`` [N] holds."""
    if mask is None:
        mean = x.mean(dim=(0, 2, 3))
        return mean, (x - mean[:, None, None]).square().mean(dim=(0, 2, 3))
    weight = mask.to(x.dtype)[:, None, None, None]
    count = weight.sum() * x.shape[2] * x.shape[3]
    mean = (x * weight).sum(dim=(0, 2, 3)) / count
    centred = (x - mean[:, None, None]) * weight
    return mean, centred.square().sum(dim=(0, 2, 3)) / count


def backbone_for(
    shape: tuple[int, ...],
    filters: int,
    hidden: tuple[int, ...],
    *,
    strided: bool = False,
    std: float | None = None,
) -> Backbone:
    """Conv-4 for images of at least 16 x 16, an MLP on flattened inputs for the rest."""
    if len(shape) == 3 and min(shape[1:]) >= 16:
        return Conv4((shape[0], shape[1], shape[2]), filters, strided)
    return MLP(math.prod(shape), hidden, std)
