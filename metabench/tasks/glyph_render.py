"""Characters as pictures: rendering font faces and finding characters that look alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.errors import MetabenchError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

CANVAS = 56
"""Side of a rendered picture, twice the side of an image of the data set."""
INK = 44
"""Longest side of the character's bounding box on the canvas."""
_EM = 96

# The first face that holds a character shows its canonical form.
FACES = (
    "DejaVuSans",
    "STIXGeneral",
    "DejaVuSerif",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif-Italic",
    "DejaVuSerif-Bold",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "STIXGeneralItalic",
    "STIXGeneralBol",
)

Pictures = NDArray[np.uint8]
"""uint8 [N, CANVAS, CANVAS], 255 is ink."""


@dataclass(frozen=True)
class Face:
    """One font file."""

    path: Path

    @cached_property
    def charmap(self) -> frozenset[int]:
        """The code points it has a glyph for."""
        from matplotlib.ft2font import FT2Font

        return frozenset(FT2Font(str(self.path)).get_charmap())

    @cached_property
    def font(self) -> FreeTypeFont:
        """The face at the size everything is rendered in."""
        from PIL import ImageFont

        # The basic layout engine is always there and does no ligatures or joining forms.
        return ImageFont.truetype(str(self.path), _EM, layout_engine=ImageFont.Layout.BASIC)

    def picture(self, character: str) -> Pictures | None:
        """The character scaled to its bounding box, keeping its proportions; None if blank.

        Size and place in the line are no part of a class: o is O.
        """
        from PIL import Image, ImageDraw

        sheet = Image.new("L", (3 * _EM, 3 * _EM), 0)
        ImageDraw.Draw(sheet).text((_EM, _EM), character, font=self.font, fill=255)
        box = sheet.getbbox()
        if box is None:
            return None
        crop = sheet.crop(box)
        scale = INK / max(crop.size)
        size = max(1, round(crop.width * scale)), max(1, round(crop.height * scale))
        how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        canvas = Image.new("L", (CANVAS, CANVAS), 0)
        corner = (CANVAS - size[0]) // 2, (CANVAS - size[1]) // 2
        canvas.paste(crop.resize(size, how), corner)
        return np.asarray(canvas)


def faces() -> tuple[Face, ...]:
    """The font faces that come with matplotlib, the canonical ones first."""
    # Found without importing matplotlib, which takes longer than reading the cached pool.
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise MetabenchError("the glyphs data set needs the fonts of matplotlib: install it")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return tuple(Face(folder / f"{name}.ttf") for name in FACES)


def forms(character: str, among: tuple[Face, ...]) -> list[Pictures]:
    """The character in every face that holds it, the canonical form first."""
    drawn = (f.picture(character) for f in among if ord(character) in f.charmap)
    return [p for p in drawn if p is not None]


# Two characters look alike when the ink of each lies within one pixel of the ink of the other,
# but for this much (in fully inked pixels of a 28 x 28 image). Chosen by looking at contact
# sheets of pairs: up to 8 the pairs are the same picture in another weight or differ by a bend
# (circled minus and barred o, two weights of a cross) that the drawers' distortions undo; from 9
# on a stroke or a Braille dot has visibly moved.
ALIKE = 8.5
_AT_ONCE = 1024


class Looks:
    """What is compared of pictures: their ink at 28 x 28 pixels, in 16 levels.

    Small whole numbers, so that sums are exact and the same on every machine.
    """

    def __init__(self, pictures: Pictures) -> None:
        half = CANVAS // 2
        ink = pictures.reshape(-1, half, 2, half, 2).sum((2, 4), dtype=np.int32) // (4 * 17)
        self.ink = _flat(ink)
        self.far = _flat(15 - _grown(ink))

    def distance_from(self, canon: Looks) -> NDArray[np.float32]:
        """Ink of either that the other does not explain [len(self), len(canon)], in pixels."""
        return np.maximum(self.ink @ canon.far.T, self.far @ canon.ink.T) / np.float32(15 * 15)


def _flat(x: NDArray[np.int32]) -> NDArray[np.float32]:
    return x[:, 2:-2, 2:-2].reshape(len(x), -1).astype(np.float32)


def _grown(x: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each pixel becomes the largest of its 3 x 3 neighbours."""
    p = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    wide = np.maximum(np.maximum(p[:, :, :-2], p[:, :, 1:-1]), p[:, :, 2:])
    return np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])


def distinct(canon: Pictures, threshold: float = ALIKE) -> list[int]:
    """Indices of pictures no two of which look alike: each is kept unless an earlier one is."""
    looks = Looks(canon)
    alike = looks.distance_from(looks) < threshold
    kept: list[int] = []
    for i in range(len(canon)):
        if not alike[i, kept].any():
            kept.append(i)
    return kept


def own_forms(canon: Pictures, drawn: list[list[Pictures]]) -> Iterator[Pictures]:
    """Per character, the forms that are nearer to its canonical form than to any other's.

    Some faces give a character another's shape: an italic Cyrillic te is a Latin m.
    """
    counts = [len(pictures) for pictures in drawn]
    owner = np.repeat(np.arange(len(drawn)), counts)
    every = np.stack([picture for pictures in drawn for picture in pictures])
    known, own = Looks(canon), np.empty(len(every), dtype=np.bool_)
    for start in range(0, len(every), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distance = Looks(every[part]).distance_from(known)
        mine = np.arange(len(distance)), owner[part]
        to_own = distance[mine]
        distance[mine] = np.inf
        own[part] = to_own < distance.min(1)
    for pictures, fine in zip(drawn, np.split(own, np.cumsum(counts)[:-1]), strict=True):
        fine[0] = True
        yield np.stack(pictures)[fine]
