"""Conv-4, the four-block convolutional network of Vinyals et al. 2016."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones.base import Norms, Parameters, Statistics, kernel

BLOCKS = 4


@dataclass(frozen=True)
class Conv4:
    """Four blocks of 3x3 convolution, normalisation and ReLU.

    Each block halves the image: by max pooling, or by a stride of 2 (``strided``, as in the
    Omniglot network of Finn et al. 2017); only the first ``halvings`` do, where features are
    wanted as a map (two, in the relation network of Sung et al. 2018). ``fused``: see ``Norms``;
    kernels, and so feature maps, then lie in memory with the channels last.
    """

    shape: tuple[int, int, int]
    filters: int
    strided: bool = False
    normalised: bool = True
    halvings: int = BLOCKS
    fused: bool = False

    @property
    def map(self) -> tuple[int, int, int]:
        """Shape of the features before they are flattened: filters, height, width."""
        height, width = self.shape[1:]
        for _ in range(self.halvings):
            height, width = (
                ((height + 1) // 2, (width + 1) // 2) if self.strided else (height // 2, width // 2)
            )
        return self.filters, height, width

    @property
    def features(self) -> int:
        """Filters times what is left of the image."""
        return math.prod(self.map)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """He-normal kernels; scale 1 and shift 0 after normalisation."""
        parameters: dict[str, Tensor] = {}
        channels = self.shape[0]
        for i in range(BLOCKS):
            ends = (channels, self.filters)
            kernel(parameters, f"block{i}", ends, 3, generator, self.normalised)
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
        norm = Norms(parameters, statistics, mask, self.fused)
        for i in range(BLOCKS):
            halves = i < self.halvings
            x = norm.convolution(f"block{i}", x, 2 if self.strided and halves else 1)
            if halves and not self.strided:
                # The same as pooling after the ReLU, on a quarter of the values.
                x = F.max_pool2d(x, 2)
            x = F.relu(x)
        return x.flatten(1), norm.statistics
