"""Embedding networks as pure functions of a dictionary of parameters.

Normalisation is inductive by construction: the statistics are a value, computed from a batch that
the caller chooses (the support set, a meta-training batch) and handed to every later call. A query
never contributes to the statistics it is normalised with, unless the caller says so on its card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

Parameters = Mapping[str, Tensor]
Statistics = tuple[tuple[Tensor, Tensor], ...]
"""(mean, variance) of each normalised layer, each [channels]; empty without normalisation."""

EPSILON = 1e-5


class Backbone(Protocol):
    """Inputs [N, *X] -> features [N, ``features``]."""

    @property
    def features(self) -> int:
        """Size of the embedding."""
        ...

    @property
    def normalised(self) -> bool:
        """Whether its layers are normalised."""
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


class Norms:
    """Normalises layer after layer of one forward pass, and keeps the statistics it used.

    ``fused`` takes torch's own kernel, which is faster. It is right where nothing is lifted by
    ``vmap``, under which it has wrong second derivatives, and gives the statistics no gradient.
    """

    def __init__(
        self,
        parameters: Parameters,
        statistics: Statistics | None,
        mask: Tensor | None,
        fused: bool = False,
    ) -> None:
        self.parameters, self.given, self.mask = parameters, statistics, mask
        self.fused = fused and mask is None
        self.used: list[tuple[Tensor, Tensor]] = []

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """x [N, C, ...] to mean 0 and variance 1, then by the layer's scale and shift."""
        layer = len(self.used)
        if self.fused:
            return self._fused(name, x, layer)
        mean, variance = moments(x, self.mask) if self.given is None else self.given[layer]
        self.used.append((mean, variance))
        scale = self.parameters[f"{name}.scale"] * torch.rsqrt(variance + EPSILON)
        shift = self.parameters[f"{name}.shift"] - mean * scale
        return affine(x, scale, shift)

    def convolution(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """A convolution that keeps the size, then normalisation or, without a scale, a shift.

        Fused and with given statistics, it is one convolution: the scale goes into the kernel.
        """
        weight, shift = self.parameters[f"{name}.kernel"], self.parameters[f"{name}.shift"]
        scale, padding = self.parameters.get(f"{name}.scale"), weight.shape[-1] // 2
        if scale is None:
            return F.conv2d(x, weight, shift, stride, padding)
        if self.fused and self.given is not None:
            mean, variance = self.given[len(self.used)]
            self.used.append((mean, variance))
            scale = scale * torch.rsqrt(variance + EPSILON)
            weight, shift = weight * scale.view(-1, 1, 1, 1), shift - mean * scale
            weight = weight.to(memory_format=torch.channels_last)
            return F.conv2d(x, weight, shift, stride, padding)
        if self.fused:
            weight = weight.to(memory_format=torch.channels_last)
        return self(name, F.conv2d(x, weight, None, stride, padding))

    def _fused(self, name: str, x: Tensor, layer: int) -> Tensor:
        scale, shift = self.parameters[f"{name}.scale"], self.parameters[f"{name}.shift"]
        if self.given is not None:
            mean, variance = self.given[layer]
            self.used.append((mean, variance))
            return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, EPSILON)
        out, mean, inverse = torch.native_batch_norm(
            x, scale, shift, None, None, True, 0.0, EPSILON
        )
        self.used.append((mean.detach(), inverse.detach().pow(-2) - EPSILON))
        return out

    @property
    def statistics(self) -> Statistics:
        """What every layer so far was normalised with."""
        return tuple(self.used)


def affine(x: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
    """x [N, C, ...] times scale [C], if any, plus shift [C]."""
    shape = (-1, *[1] * (x.ndim - 2))
    return x + shift.view(shape) if scale is None else x * scale.view(shape) + shift.view(shape)


def moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance per channel of [N, C, ...] over the rows where ``mask`` [N] holds."""
    axes = [0, *range(2, x.ndim)]
    shape = (-1, *[1] * (x.ndim - 2))
    if mask is None:
        mean = x.mean(dim=axes)
        return mean, (x - mean.view(shape)).square().mean(dim=axes)
    weight = mask.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    count = weight.sum() * math.prod(x.shape[2:])
    mean = (x * weight).sum(dim=axes) / count
    centred = (x - mean.view(shape)) * weight
    return mean, centred.square().sum(dim=axes) / count


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


def kernel(
    parameters: dict[str, Tensor],
    name: str,
    channels: tuple[int, int],
    size: int,
    generator: torch.Generator,
    normalised: bool = True,
) -> None:
    """Add a convolution: He-normal kernel and a shift, and a scale where it is normalised.

    There is no bias before normalisation, where it would have no effect and no gradient.
    """
    into, out = channels
    weight = torch.empty(out, into, size, size)
    torch.nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    parameters[f"{name}.kernel"] = weight
    if normalised:
        parameters[f"{name}.scale"] = torch.ones(out)
    parameters[f"{name}.shift"] = torch.zeros(out)
