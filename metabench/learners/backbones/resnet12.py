"""ResNet-12, the residual network of few-shot learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones.base import Norms, Parameters, Statistics, kernel

WIDTHS = (1.0, 2.5, 5.0, 10.0)
"""Filters of the four blocks, in multiples of the first: 64, 160, 320, 640."""


@dataclass(frozen=True)
class ResNet12:
    """Four residual blocks of three 3x3 convolutions, as in Lee et al. 2019 (section 4.1).

    Leaky ReLU of slope 0.1, a 1x1 convolution on the shortcut, 2x2 max pooling after each block
    and global average pooling at the end. Without the DropBlock of that paper: nothing random
    happens inside a backbone. ``fused``: see ``Conv4``.
    """

    shape: tuple[int, int, int]
    filters: int = 64
    normalised: bool = True
    fused: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each block."""
        return tuple(round(self.filters * w) for w in WIDTHS)

    @property
    def features(self) -> int:
        """Filters of the last block."""
        return self.widths[-1]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """He-normal kernels; scale 1 and shift 0 after normalisation."""
        parameters: dict[str, Tensor] = {}
        into = self.shape[0]
        for i, out in enumerate(self.widths):
            for j, channels in enumerate(((into, out), (out, out), (out, out))):
                kernel(parameters, f"block{i}.conv{j}", channels, 3, generator, self.normalised)
            kernel(parameters, f"block{i}.short", (into, out), 1, generator, self.normalised)
            into = out
        return parameters

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Features [N, 10 * filters]."""
        norm = Norms(parameters, statistics, mask, self.fused)
        for i in range(len(WIDTHS)):
            short = norm.convolution(f"block{i}.short", x)
            for j in range(3):
                x = norm.convolution(f"block{i}.conv{j}", x)
                x = F.leaky_relu(x if j < 2 else x + short, 0.1)
            x = F.max_pool2d(x, 2) if min(x.shape[-2:]) > 1 else x
        return x.mean(dim=(2, 3)), norm.statistics
