"""What JPEG loses: quantised cosine coefficients of 8 x 8 blocks, colour at half the resolution.

Tables and their scaling by quality are those of ITU-T T.81, annex K, and of the Independent JPEG
Group's library. Entropy coding loses nothing and is left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 8
# fmt: off
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *[99] * 32,
)
# fmt: on
TO_LUMA = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
FROM_LUMA = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def compressed(x: Tensor, quality: int) -> Tensor:
    """Images [N, 1 or 3, H, W] in [0, 1] after JPEG of that quality, 1 to 100."""
    height, width = x.shape[-2:]
    edge = 2 * BLOCK
    # Padding repeats the edge; in float64 no rounding depends on how many images there are.
    levels = F.pad(
        (x.double() * 255).round(), (0, -width % edge, 0, -height % edge), mode="replicate"
    )
    if x.shape[1] == 1:
        out = _quantised(levels - 128, LUMINANCE, quality) + 128
    else:
        colours = torch.einsum("ij,njhw->nihw", torch.tensor(TO_LUMA).double(), levels).round()
        luma = _quantised(colours[:, :1] - 128, LUMINANCE, quality) + 128
        chroma = _quantised(F.avg_pool2d(colours[:, 1:], 2).round(), CHROMINANCE, quality)
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
        both = torch.cat([luma, chroma], dim=1)
        out = torch.einsum("ij,njhw->nihw", torch.tensor(FROM_LUMA).double(), both)
    return (out[..., :height, :width].round().clamp(0, 255) / 255).to(x.dtype)


def _quantised(levels: Tensor, table: tuple[int, ...], quality: int) -> Tensor:
    """Channels [N, C, H, W] with every 8 x 8 block's coefficients rounded to the table's steps."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).double()
    steps = steps.view(BLOCK, BLOCK)
    cosines = _cosines()
    blocks = levels.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK)).transpose(-2, -3)
    coefficients = cosines @ blocks @ cosines.mT
    # A hair's breadth, so that a tie is rounded alike on every machine.
    kept = (coefficients / steps + 1e-9).round() * steps
    return (cosines.mT @ kept @ cosines).transpose(-2, -3).flatten(-4, -3).flatten(-2)


def _cosines() -> Tensor:
    """The orthonormal cosine transform [8, 8] of a vector."""
    k, n = torch.arange(BLOCK).double()[:, None], torch.arange(BLOCK).double()
    matrix = 0.5 * torch.cos(math.pi * (2 * n + 1) * k / (2 * BLOCK))
    matrix[0] /= math.sqrt(2)
    return matrix
