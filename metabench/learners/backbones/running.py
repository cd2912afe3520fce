"""Running averages of normalisation statistics: what a trained embedding normalises with."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.learners.backbones.base import Statistics

MOMENTUM = 0.1


def running_buffers(statistics: Statistics) -> dict[str, Tensor]:
    """Averages of mean 0 and variance 1, of these shapes, by name."""
    buffers: dict[str, Tensor] = {}
    for i, (mean, variance) in enumerate(statistics):
        buffers |= {
            f"mean{i}": torch.zeros_like(mean),
            f"variance{i}": torch.ones_like(variance),
        }
    return buffers


def running_statistics(buffers: dict[str, Tensor]) -> Statistics:
    """The averages that the buffers hold."""
    layers = sum(name.startswith("variance") for name in buffers)
    return tuple((buffers[f"mean{i}"], buffers[f"variance{i}"]) for i in range(layers))


def follow(buffers: dict[str, Tensor], used: Statistics) -> None:
    """Move the averages towards the statistics of a batch, with momentum 0.1."""
    for i, (mean, variance) in enumerate(used):
        buffers[f"mean{i}"].lerp_(mean.detach(), MOMENTUM)
        buffers[f"variance{i}"].lerp_(variance.detach(), MOMENTUM)
