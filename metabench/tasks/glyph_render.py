"""From characters to pictures: rendering, look-alikes, and the drawer's distortions.

Everything here is integer arithmetic or rounded to fixed point before it decides a pixel, so that
the pictures do not depend on the processor.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.rng import Address

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

SOURCE = 56
"""Side of a rendered character before distortion; a pixel of the final image covers 2 x 2."""
EXTENT = 44
"""The longer side of a character in the source picture."""
SIZE = 28
DRAWERS = 20
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
UNEXPLAINED = 6
"""Pixels, of 28 x 28."""
JUDGED = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
"""Faces in which look-alikes are sought; each character at least in the first face it has."""


def face_path(face: str) -> Path:
    """The font file that matplotlib ships."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


@lru_cache(maxsize=1)
def charmaps() -> dict[str, frozenset[int]]:
    """Face -> the code points it has."""
    from matplotlib.ft2font import FT2Font

    return {face: frozenset(FT2Font(str(face_path(face))).get_charmap()) for face in FACES}


class Renderer:
    """Draws characters; white ink on black, the longer side scaled to ``EXTENT`` and centred."""

    def __init__(self, point_size: int = 96) -> None:
        from PIL import ImageFont

        basic = ImageFont.Layout.BASIC
        self._fonts = {
            face: ImageFont.truetype(str(face_path(face)), point_size, layout_engine=basic)
            for face in FACES
        }

    def draw(self, character: str, face: str) -> Bytes | None:
        """uint8 [SOURCE, SOURCE], or None where the character leaves no ink."""
        from PIL import Image, ImageDraw

        font = self._fonts[face]
        left, top, right, bottom = font.getbbox(character)
        width, height = int(right - left), int(bottom - top)
        if width < 1 or height < 1:
            return None
        canvas = Image.new("L", (width + 4, height + 4))
        ImageDraw.Draw(canvas).text((2 - left, 2 - top), character, fill=255, font=font)
        box = canvas.getbbox()
        if box is None:
            return None
        ink = canvas.crop(box)
        scale = EXTENT / max(ink.size)
        width, height = (max(1, round(side * scale)) for side in ink.size)
        ink = ink.resize((width, height), Image.Resampling.BOX)
        picture = Image.new("L", (SOURCE, SOURCE))
        picture.paste(ink, ((SOURCE - width) // 2, (SOURCE - height) // 2))
        return np.asarray(picture, dtype=np.uint8)


def look_alikes(a: Bytes, b: Bytes, threshold: float) -> NDArray[np.bool_]:
    """Which of the pictures a [n, SOURCE, SOURCE] look like which of b [m, ...]: [n, m].

    Two tests, and either is enough: the cosine of the blurred pictures exceeds the threshold, or
    less than ``UNEXPLAINED`` pixels of ink of one lie more than a pixel away from ink of the
    other. Pictures are scaled to their ink, so position and size do not tell two characters
    apart, as they do not after a drawer's distortion.
    """
    (soft_a, ink_a, near_a), (soft_b, ink_b, near_b) = _views(a), _views(b)
    # Rounded, so that the last bit of a sum decides nothing.
    close = np.rint(soft_a @ soft_b.T * 1000) > threshold * 1000
    lone_a = ink_a.sum(1)[:, None] - ink_a @ near_b.T
    lone_b = ink_b.sum(1)[None] - near_a @ ink_b.T
    return np.asarray(close | (lone_a + lone_b < UNEXPLAINED))


def _views(pictures: Bytes) -> tuple[Singles, Singles, Singles]:
    """Rows of unit length of the blurred pictures, their ink, and what is within a pixel of it."""
    coarse = pictures.astype(np.int32).reshape(len(pictures), SIZE, 2, SIZE, 2).sum((2, 4))
    blurred, ink = coarse, coarse > 2 * 255
    near = ink
    for axis in (1, 2):
        blurred = 2 * blurred + np.roll(blurred, 1, axis) + np.roll(blurred, -1, axis)
        near = near | np.roll(near, 1, axis) | np.roll(near, -1, axis)
    soft = blurred.reshape(len(pictures), -1).astype(np.float32)
    soft /= np.sqrt((soft**2).sum(1, keepdims=True))
    flat = (len(pictures), -1)
    return soft, ink.reshape(flat).astype(np.float32), near.reshape(flat).astype(np.float32)


def keep_one_home(alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which to keep so that no two kept ones are alike; earlier ones have precedence."""
    kept = np.zeros(len(alike), dtype=np.bool_)
    for i in range(len(alike)):
        kept[i] = not (alike[i] & kept).any()
    return kept


def draw_items(sources: Bytes, faces: NDArray[np.int64], address: Address) -> Bytes:
    """Every drawer's picture of one character: uint8 [DRAWERS, SIZE, SIZE].

    sources [F, 3, SOURCE, SOURCE]: the character in F faces, each thin, as it is and thick.
    The face, the weight, an affine map and a smooth displacement belong to (character, drawer).
    """
    rng = address.generator()
    uniform = rng.random((DRAWERS, 8))
    bumps = rng.standard_normal((DRAWERS, 2, GRID, GRID))
    face = faces[(uniform[:, 0] * len(faces)).astype(np.int64)]
    weight = (uniform[:, 1] * 3).astype(np.int64)
    signed = 2 * uniform[:, 2:] - 1
    turn, shear = ROTATION * signed[:, 0], SHEAR * signed[:, 1]
    stretch = 1 + STRETCH * signed[:, 2:4]
    shift = SHIFT * signed[:, 4:6]
    rows, columns = (np.mgrid[0:SIZE, 0:SIZE] + 0.5 - SIZE / 2).reshape(2, 1, -1)
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x = (cos * columns - sin * rows + shear[:, None] * rows) * stretch[:, :1] + shift[:, :1]
    y = (sin * columns + cos * rows) * stretch[:, 1:] + shift[:, 1:]
    bend = ELASTIC * _smooth(bumps)
    return _sample(sources[face, weight], y + bend[:, 0], x + bend[:, 1])


ROTATION = 0.2
SHEAR = 0.2
STRETCH = 0.18
SHIFT = 2.0
ELASTIC = 1.3
"""Radians, ratio, ratio, pixels, pixels: chosen so that characters stay legible."""
GRID = 5


def weights(picture: Bytes) -> Bytes:
    """The picture with its strokes thinned, as they are and thickened: [3, SOURCE, SOURCE]."""
    padded = np.pad(picture, 1)
    shifts = [
        padded[1 + i : 1 + i + SOURCE, 1 + j : 1 + j + SOURCE]
        for i, j in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    thin = np.minimum.reduce(shifts)
    # A hairline would vanish: it keeps half its ink.
    thin = np.maximum(thin, picture // 2)
    return np.stack([thin, picture, np.maximum.reduce(shifts)])


@lru_cache(maxsize=1)
def _upsampling() -> Floats:
    """Linear interpolation from GRID knots to SIZE pixels: [SIZE, GRID]."""
    at = np.arange(SIZE) * (GRID - 1) / (SIZE - 1)
    return np.maximum(0.0, 1 - np.abs(at[:, None] - np.arange(GRID)))


def _smooth(bumps: Floats) -> Floats:
    """Random knots [n, 2, GRID, GRID] -> smooth fields [n, 2, SIZE * SIZE]."""
    up = _upsampling()
    return np.einsum("ij,nkjl,ml->nkim", up, bumps, up).reshape(*bumps.shape[:2], -1)


def _sample(pictures: Bytes, y: Floats, x: Floats) -> Bytes:
    """Bilinear samples of pictures [n, SOURCE, SOURCE] at centred coordinates [n, SIZE * SIZE].

    Coordinates are in pixels of the result and rounded to 1/64 of a source pixel.
    """
    half = SOURCE // 2
    fine = [
        np.clip(np.rint((2 * c + half) * 64), 0, (SOURCE - 2) * 64).astype(np.int64) for c in (y, x)
    ]
    (row, row_part), (column, column_part) = ((c >> 6, c & 63) for c in fine)
    soft = np.pad(pictures.astype(np.int64), ((0, 0), (0, 1), (0, 1)))
    # Average 2 x 2 source pixels first: the result has half the resolution.
    soft = soft[:, :-1, :-1] + soft[:, 1:, :-1] + soft[:, :-1, 1:] + soft[:, 1:, 1:]
    flat = soft.reshape(len(pictures), -1)
    first = row * SOURCE + column

    def at(offset: int) -> NDArray[np.int64]:
        return np.take_along_axis(flat, first + offset, axis=1)

    upper = at(0) * (64 - column_part) + at(1) * column_part
    lower = at(SOURCE) * (64 - column_part) + at(SOURCE + 1) * column_part
    value = (upper * (64 - row_part) + lower * row_part) >> 14
    return np.minimum(value, 255).astype(np.uint8).reshape(-1, SIZE, SIZE)
