"""Conv-4, the four-block convolutional network of Vinyals et al. 2016."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones.base import Norms, Parameters, Statistics, affine, kernel

BLOCKS = 4


@dataclass(frozen=True)
class Conv4:
    """Four blocks of 3x3 convolution, normalisation and ReLU.

    Each block halves the image: by max pooling, or by a stride of 2 (``strided``, as in the
    Omniglot network of Finn et al. 2017).
    """

    shape: tuple[int, int, int]
    filters: int
    strided: bool = False
    normalised: bool = True

    @property
    def features(self) -> int:
        """Filters times what is left of the image."""
        height, width = self.shape[1:]
        for _ in range(BLOCKS):
            height, width = (
                ((height + 1) // 2, (width + 1) // 2) if self.strided else (height // 2, width // 2)
            )
        return self.filters * height * width

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
        norm = Norms(parameters, statistics, mask)
        for i in range(BLOCKS):
            x = F.conv2d(
                x, parameters[f"block{i}.kernel"], padding=1, stride=2 if self.strided else 1
            )
            if self.normalised:
                x = norm(f"block{i}", x)
            else:
                x = affine(x, None, parameters[f"block{i}.shift"])
            if not self.strided:
                # The same as pooling after the ReLU, on a quarter of the values.
                x = F.max_pool2d(x, 2)
            x = F.relu(x)
        return x.flatten(1), norm.statistics
