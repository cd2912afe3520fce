"""The scripts of the glyph data set, and which of their characters the fonts hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A set of code points (both ends of a span belong to it) that plays the part of an alphabet.

    ``unseen`` scripts are those that meta-training never meets.
    """

    name: str
    spans: Spans
    unseen: bool = False

    def characters(self, charmap: Collection[int]) -> list[str]:
        """The script's usable characters among these code points, in code-point order."""
        found = (c for low, high in self.spans for c in range(low, high + 1) if c in charmap)
        return [chr(c) for c in found if usable(chr(c))]


def usable(character: str) -> bool:
    """Whether it has a shape of its own: no mark, space, control or composite of others.

    NFKD takes apart both the compatibility forms (bold A) and letters with accents (É), which
    would differ from their base by a few pixels.
    """
    alone = unicodedata.normalize("NFKD", character) == character
    return alone and unicodedata.category(character)[0] not in "MCZ"


# Where two characters look alike, the earlier one keeps its place: scripts of letters come before
# symbols, and Latin, from which others borrowed, comes first.
SCRIPTS = (
    Script(
        "latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x2C60, 0x2C7F), (0xA722, 0xA7FF))
    ),
    Script("greek", ((0x370, 0x3E1), (0x3F0, 0x3FF))),
    Script("coptic", ((0x3E2, 0x3EF), (0x2C80, 0x2CFF))),
    Script("cyrillic", ((0x400, 0x52F), (0xA640, 0xA69F))),
    Script("armenian", ((0x531, 0x58F),), unseen=True),
    Script("hebrew", ((0x5D0, 0x5F4),), unseen=True),
    Script("arabic", ((0x600, 0x6FF), (0x750, 0x77F)), unseen=True),
    Script("nko", ((0x7C0, 0x7FF),), unseen=True),
    Script("lao", ((0xE80, 0xEFF),), unseen=True),
    Script("georgian", ((0x10A0, 0x10FF), (0x2D00, 0x2D2F)), unseen=True),
    Script("canadian", ((0x1400, 0x167F),)),
    Script("ogham", ((0x1680, 0x169F),)),
    Script("tifinagh", ((0x2D30, 0x2D7F),), unseen=True),
    Script("lisu", ((0xA4D0, 0xA4FF),)),
    Script("old-italic", ((0x10300, 0x1032F),)),
    Script("phonetic", ((0x250, 0x2FF), (0x1D00, 0x1DBF))),
    Script(
        "punctuation",
        ((0x21, 0x40), (0x5B, 0x60), (0x7B, 0xBF), (0x2010, 0x20CF), (0x2E00, 0x2E2E)),
    ),
    Script("letterlike", ((0x2100, 0x218F),)),
    Script("operators", ((0x2200, 0x22FF),)),
    Script("more-operators", ((0x27C0, 0x27EF), (0x2980, 0x2AFF))),
    Script("arrows", ((0x2190, 0x21FF), (0x27F0, 0x27FF), (0x2900, 0x297F), (0x2B00, 0x2B4F))),
    Script("technical", ((0x2300, 0x23FF),)),
    Script("box-drawing", ((0x2500, 0x259F),)),
    Script("geometric", ((0x25A0, 0x25FF),)),
    Script("symbols", ((0x2600, 0x26FF),)),
    Script("dingbats", ((0x2700, 0x27BF),)),
    Script("braille", ((0x2800, 0x28FF),)),
)
