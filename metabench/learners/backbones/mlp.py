"""The multilayer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones.base import Norms, Parameters, Statistics, dense


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ReLU after each; inputs are flattened.

    With ``normalised``, every layer is normalised before its ReLU, as in the fully connected
    Omniglot network of Finn et al. 2017.
    """

    inputs: int
    hidden: tuple[int, ...]
    std: float | None = None
    normalised: bool = False
    fused: bool = False

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
            if self.normalised:
                parameters[f"layer{i}.scale"] = torch.ones(fan_out)
                parameters[f"layer{i}.shift"] = parameters.pop(f"layer{i}.bias")
        return parameters

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Features [N, hidden[-1]]."""
        x = x.flatten(1)
        norm = Norms(parameters, statistics, mask, self.fused)
        for i in range(len(self.hidden)):
            if self.normalised:
                x = norm(f"layer{i}", F.linear(x, parameters[f"layer{i}.weight"]))
            else:
                x = F.linear(x, parameters[f"layer{i}.weight"], parameters[f"layer{i}.bias"])
            x = F.relu(x)
        return x, norm.statistics
