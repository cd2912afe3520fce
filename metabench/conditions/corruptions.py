"""Image corruptions of five severities, after Hendrycks and Dietterich 2019.

``value`` is the severity, 1 to 5. Constants are those with which the authors made CIFAR-10-C
(``make_cifar_c.py`` of their repository), lengths in pixels of 32 x 32 scaled to the image. Their
Gaussian noise is ``noise`` at .04, .06, .08, .09, .1, and their Gaussian blur ``blur`` at .4, .6,
.7, .8, 1. Written here, and not taken from a package, because every random number of an episode
must come from its address. Fog, frost, snow and the blurs of glass, zoom and defocus are not here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import pdtr
from torch import Tensor
from torch.nn import functional as F

from metabench.conditions.base import INTERVENTIONS
from metabench.conditions.images import OnImages, blurred
from metabench.conditions.jpeg import compressed
from metabench.errors import MetabenchError
from metabench.rng import BlockDraws, Plan
from metabench.tasks import Shape

REFERENCE = 32
"""Side of the images that the constants are for."""
Five = tuple[float, float, float, float, float]
Floats = NDArray[np.float64]


class Corruption(OnImages):
    """Changes images [N, C, H, W] in [0, 1] by the constant of a severity."""

    unit: ClassVar[str] = "severity"
    constants: ClassVar[Five]

    def needed(self, shape: Shape, value: float) -> Shape:
        """Raises MetabenchError unless the severity is 1, 2, 3, 4 or 5."""
        if value not in (1, 2, 3, 4, 5):
            raise MetabenchError(f"severity must be 1, 2, 3, 4 or 5, found {value:g}")
        return shape

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """Item by item, clipped to [0, 1]."""
        flat = {name: a.flatten(0, 1) for name, a in arrays.items()}
        changed = self.corrupted(x.flatten(0, 1), int(value) - 1, flat)
        return changed.clamp(0, 1).to(x.dtype).view_as(x)

    @abstractmethod
    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """Images [N, C, H, W], not clipped, with constant ``level``, 0..4; arrays [N, ...]."""


class Contrast(Corruption):
    """Pull every pixel to the mean of its channel: (x - mean) c + mean."""

    constants: ClassVar[Five] = (0.75, 0.5, 0.4, 0.3, 0.15)

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """No randomness."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        return (x - mean) * self.constants[level] + mean


class Brightness(Corruption):
    """Add c to the value of hue, saturation and value; on grey images, to every pixel."""

    constants: ClassVar[Five] = (0.05, 0.1, 0.15, 0.2, 0.3)

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """With hue and saturation kept, the channels keep their ratios; black becomes grey."""
        value = x.amax(dim=1, keepdim=True)
        brighter = (value + self.constants[level]).clamp_max(1)
        return torch.where(value > 0, x * (brighter / value.clamp_min(1e-12)), brighter)


class Pixelate(Corruption):
    """Shrink to the share c of the side by averaging areas, then enlarge by nearest neighbour."""

    constants: ClassVar[Five] = (0.95, 0.9, 0.85, 0.75, 0.65)

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """No randomness."""
        down, across = (_areas(n, int(n * self.constants[level])).to(x) for n in x.shape[-2:])
        return F.interpolate(down @ x @ across.mT, x.shape[-2:], mode="nearest-exact")


class ImpulseNoise(Corruption):
    """The share c of the values becomes 0 or 1, salt and pepper."""

    constants: ClassVar[Five] = (0.01, 0.02, 0.03, 0.05, 0.07)

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Two uniforms for each value."""
        size = (draws.size, items, *shape)
        return {name: draws(name).random(size, dtype=np.float32) for name in ("hit", "salt")}

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """What is hit at one severity is hit at the next."""
        salt = (arrays["salt"] < 0.5).to(x.dtype)
        return torch.where(arrays["hit"] < self.constants[level], salt, x)


class ShotNoise(Corruption):
    """Photons: a Poisson count of mean c x, divided by c."""

    constants: ClassVar[Five] = (500, 250, 100, 75, 50)

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """A quantile for each value."""
        size = (draws.size, items, *shape)
        return {"quantile": draws("quantile").random(size, dtype=np.float32)}

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """The same quantiles at every severity; x is rounded to eight bits, black stays black."""
        scale = self.constants[level]
        grey, quantile = (x * 255).round().long().numpy(), arrays["quantile"].double().numpy()
        noisy = np.zeros(x.shape)
        lit = grey > 0
        noisy[lit] = photons(grey[lit], scale, quantile[lit]) / scale
        return torch.from_numpy(noisy)


class MotionBlur(Corruption):
    """Smear one way along a direction within 45 degrees of the horizontal.

    Weights fall off like a Gaussian of standard deviation c, cut at a radius of its own.
    """

    constants: ClassVar[Five] = (1, 1.5, 2, 2, 2.5)
    radius: ClassVar[tuple[int, ...]] = (6, 6, 6, 8, 9)

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """The direction of each image."""
        angle = draws("angle").uniform(-np.pi / 4, np.pi / 4, (draws.size, items))
        return {"angle": angle.astype(np.float32)}

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """Beyond its edge an image goes on as at the edge."""
        at = torch.arange(self.radius[level] + 1.0)
        weight = torch.exp(-at.square() / (2 * self.constants[level] ** 2))
        angle = arrays["angle"]
        direction = torch.stack([angle.cos(), angle.sin()], -1) * x.shape[-1] / REFERENCE
        total = torch.zeros_like(x)
        for i, w in enumerate(weight / weight.sum()):
            total += w * _displaced(x, i * direction[:, None, None], "border")
        return total


class Elastic(Corruption):
    """A random affine map of three points, then a smooth random field of displacements.

    Constants are shares of the side: amplitude of the field, its smoothing, and how far a point
    moves at most.
    """

    constants: ClassVar[Five] = (0, 0.05, 0.08, 0.1, 0.1)
    smoothing: ClassVar[Five] = (0, 0.2, 0.06, 0.04, 0.03)
    affine: ClassVar[Five] = (0.08, 0.07, 0.06, 0.05, 0.03)

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Moves of three points, and the field before smoothing, uniform on [-1, 1)."""
        points = draws("points").random((draws.size, items, 3, 2), dtype=np.float32)
        field = draws("field").random((draws.size, items, 2, *shape[-2:]), dtype=np.float32)
        return {"points": 2 * points - 1, "field": 2 * field - 1}

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """Beyond its edge an image is mirrored."""
        height, width = x.shape[-2:]
        side = min(height, width)
        centre = torch.tensor([width // 2, height // 2], dtype=torch.float64)
        corners = torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
        fixed = centre + corners * (side // 3)
        moved = fixed + self.affine[level] * side * arrays["points"].double()
        # Where a pixel of the result comes from: the map of the moved points to the fixed ones.
        ones = moved.new_ones(*moved.shape[:2], 1)
        back = torch.linalg.solve(torch.cat([moved, ones], dim=-1), fixed.expand_as(moved))
        grid = _grid(height, width).double()
        place = grid.expand(len(x), -1, -1, -1)
        if self.constants[level] > 0:
            field = blurred(arrays["field"], self.smoothing[level] * side, "reflect")
            place = place + self.constants[level] * side * field.permute(0, 2, 3, 1)
        source = (place[..., None] * back[:, None, None, :2]).sum(-2) + back[:, None, None, 2]
        return _displaced(x, (source - grid).to(x.dtype), "reflection")


class Jpeg(Corruption):
    """Compression by JPEG of quality c."""

    constants: ClassVar[Five] = (80, 65, 58, 50, 40)

    def corrupted(self, x: Tensor, level: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """No randomness."""
        return compressed(x, int(self.constants[level]))


@lru_cache(maxsize=5)
def _photons(scale: float) -> NDArray[np.float64]:
    """P(Poisson(scale level / 255) <= k) + level for levels 0..255, [256, K]: rows ascend."""
    most = int(scale + 12 * math.sqrt(scale) + 20)
    level = np.arange(256.0)[:, None]
    return np.minimum(pdtr(np.arange(most), scale * level / 255), 1.0) + level


def photons(level: NDArray[np.int64], scale: float, quantile: Floats) -> Floats:
    """The least k with P(Poisson(scale level / 255) <= k) >= quantile, for levels 0..255."""
    table = _photons(scale)
    place = np.searchsorted(table.ravel(), level + quantile)
    # A quantile of 0 is found at the end of the row before.
    return np.maximum(place - level * float(table.shape[1]), 0.0)


def _areas(size: int, fewer: int) -> Tensor:
    """The matrix [fewer, size] that averages areas, float64."""
    edges = torch.arange(fewer + 1, dtype=torch.float64) * size / fewer
    pixel = torch.arange(size, dtype=torch.float64)
    upper = torch.minimum(edges[1:, None], pixel + 1)
    return (upper - torch.maximum(edges[:-1, None], pixel)).clamp_min(0) * fewer / size


def _displaced(x: Tensor, shift: Tensor, beyond: str) -> Tensor:
    """Images [N, C, H, W] read at shift [N, H or 1, W or 1, 2] (x, y) pixels away, bilinear."""
    height, width = x.shape[-2:]
    place = _grid(height, width) + shift
    size = torch.tensor([width - 1, height - 1])
    return F.grid_sample(x, 2 * place / size - 1, padding_mode=beyond, align_corners=True)


def _grid(height: int, width: int) -> Tensor:
    """The place (x, y) of every pixel [H, W, 2]."""
    axes = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    return torch.stack(axes, dim=-1)


for _name, _intervention in (
    ("contrast", Contrast()),
    ("brightness", Brightness()),
    ("pixelate", Pixelate()),
    ("impulse-noise", ImpulseNoise()),
    ("shot-noise", ShotNoise()),
    ("motion-blur", MotionBlur()),
    ("elastic", Elastic()),
    ("jpeg", Jpeg()),
):
    INTERVENTIONS.register(_name)(_intervention)
