"""Interventions on images [T, n, C, H, W] in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.conditions.base import INTERVENTIONS, InputIntervention
from metabench.episodes import Kind
from metabench.rng import BlockDraws, Plan


def _flat(x: Tensor) -> Tensor:
    return x.flatten(0, 1)


def blurred(images: Tensor, sigma: float, beyond: str) -> Tensor:
    """Images [N, C, H, W] under a Gaussian of that many pixels; F.pad's mode ``beyond`` them."""
    radius = math.ceil(3 * sigma)
    at = torch.arange(-radius, radius + 1, dtype=images.dtype)
    kernel = torch.exp(-at.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = F.pad(images.flatten(0, 1).unsqueeze(1), (radius,) * 4, mode=beyond)
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.view_as(images)


class OnImages(InputIntervention):
    """Of classes: no regression task has images."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)


class Rotation(OnImages):
    """Rotate by ``value`` degrees, clockwise or counter-clockwise at random, bilinear."""

    unit: ClassVar[str] = "degrees"

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """The direction of each image."""
        sign = draws("sign").integers(0, 2, (draws.size, items)) * 2 - 1
        return {"sign": sign.astype(np.float32)}

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """Background is 0."""
        angle = arrays["sign"].flatten() * math.radians(value)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        theta = torch.stack(
            [torch.stack([cos, -sin, zero], -1), torch.stack([sin, cos, zero], -1)], 1
        )
        images = _flat(x)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False).view_as(x)


class Inversion(OnImages):
    """Mix with the negative: (1 - value) x + value (1 - x); 1 is the negative."""

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """No randomness."""
        return (1 - value) * x + value * (1 - x)


class Noise(OnImages):
    """Add Gaussian noise of standard deviation ``value``, then clip to [0, 1]."""

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Standard normal noise."""
        size = (draws.size, items, *shape)
        return {"noise": draws("noise").standard_normal(size, dtype=np.float32)}

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """The same noise at every level, scaled."""
        return (x + value * arrays["noise"]).clamp(0, 1)


class Blur(OnImages):
    """Gaussian blur of standard deviation ``value`` pixels."""

    unit: ClassVar[str] = "px"

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """Separable kernel of radius 3 sigma; outside the image is background."""
        return blurred(_flat(x), value, "constant").view_as(x)


class Occlusion(OnImages):
    """Erase a square that covers the fraction ``value`` of the image's area."""

    unit: ClassVar[str] = "of area"

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Where the square lies, as fractions of its free range."""
        return {"corner": draws("corner").random((draws.size, items, 2))}

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """The square lies inside the image."""
        height, width = x.shape[-2:]
        side = math.sqrt(value)
        corner = arrays["corner"] * (1 - side)
        rows = (torch.arange(height) + 0.5) / height
        columns = (torch.arange(width) + 0.5) / width
        in_rows = (rows >= corner[..., :1]) & (rows < corner[..., :1] + side)
        in_columns = (columns >= corner[..., 1:]) & (columns < corner[..., 1:] + side)
        erased = in_rows[..., :, None] & in_columns[..., None, :]
        return x.masked_fill(erased.unsqueeze(2), 0.0)


for _name, _intervention in (
    ("rotation", Rotation()),
    ("inversion", Inversion()),
    ("noise", Noise()),
    ("blur", Blur()),
    ("occlusion", Occlusion()),
):
    INTERVENTIONS.register(_name)(_intervention)
