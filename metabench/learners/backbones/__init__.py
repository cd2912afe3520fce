"""Embedding networks: MLP, Conv-4, ResNet-12."""

from __future__ import annotations

import math
from typing import Literal

from metabench.errors import MetabenchError
from metabench.learners.backbones.base import (
    EPSILON,
    Backbone,
    Parameters,
    Statistics,
    dense,
    moments,
)
from metabench.learners.backbones.conv4 import Conv4
from metabench.learners.backbones.mlp import MLP
from metabench.learners.backbones.resnet12 import ResNet12
from metabench.learners.backbones.running import (
    MOMENTUM,
    follow,
    running_buffers,
    running_statistics,
)

__all__ = [
    "EPSILON",
    "MLP",
    "MOMENTUM",
    "Backbone",
    "BackboneName",
    "Conv4",
    "Parameters",
    "ResNet12",
    "Statistics",
    "backbone_for",
    "dense",
    "follow",
    "moments",
    "running_buffers",
    "running_statistics",
]

BackboneName = Literal["mlp", "conv4", "resnet12"]


def backbone_for(
    shape: tuple[int, ...],
    filters: int,
    hidden: tuple[int, ...],
    *,
    name: BackboneName | None = None,
    strided: bool = False,
    normalised: bool | None = None,
    std: float | None = None,
    fused: bool = False,
) -> Backbone:
    """The named backbone, or Conv-4 for images of at least 16 x 16 and an MLP for the rest.

    ``filters`` are those of a convolutional network (of the first block in ResNet-12), ``hidden``
    the widths of an MLP, which is normalised only if asked. ``fused`` normalises by a faster kernel
    (``Norms`` says where that is right). Raises MetabenchError where a
    convolutional network is asked for on inputs that are not images of that size.
    """
    image = len(shape) == 3 and min(shape[1:]) >= 16
    name = name or ("conv4" if image else "mlp")
    if name == "mlp":
        return MLP(math.prod(shape), hidden, std, bool(normalised), fused)
    if not image:
        raise MetabenchError(
            f"backbone {name!r} needs inputs [channels, height, width] of at least 16 x 16, "
            f"found {list(shape)}; 'mlp' takes any"
        )
    size = (shape[0], shape[1], shape[2])
    normalised = normalised is not False
    if name == "resnet12":
        return ResNet12(size, filters, normalised, fused)
    return Conv4(size, filters, strided, normalised, fused=fused)
