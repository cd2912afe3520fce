"""Colours and markers: one look a learner, the same in every figure and table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from metabench.boards import Board
from metabench.records import ORACLE

# After Okabe and Ito 2008, told apart with every common colour vision, and two more; markers
# differ too. Lightened for dark paper.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b8578f", "#c98a00", "#3a9fd6", "#6f4fc4", "#8a5a2b")
_DARK = ("#4aa8e8", "#f28a4b", "#2fc79b", "#e59ac6", "#f0bd4a", "#9ad4f7", "#b39df5", "#c99f6e")
_MARKERS = ("o", "s", "D", "^", "P", "X", "v")
_REFERENCE_MARKERS = ("o", "s", "D", "^")
_GREY = {"light": "#7b8490", "dark": "#8f99a6"}
_DASHES = ((3.0, 1.6), (1.2, 1.4), (4.5, 1.4, 1.0, 1.4), (6.0, 2.0))


@dataclass(frozen=True)
class Theme:
    """Paper and ink of one colour scheme."""

    name: str
    ink: str
    muted: str
    line: str
    zero: str


LIGHT = Theme("light", ink="#1c2128", muted="#667080", line="#e3e6ea", zero="#9aa3ae")
DARK = Theme("dark", ink="#e8ebef", muted="#98a2b0", line="#2b3138", zero="#6b7582")


_TWINS = dict(zip(_LIGHT, _DARK, strict=True)) | {_GREY["light"]: _GREY["dark"]}
_TWINS |= {getattr(LIGHT, part): getattr(DARK, part) for part in ("ink", "muted", "line", "zero")}


def darkened(svg: str) -> str:
    """A picture drawn on light paper, in the colours of dark paper: drawing is what takes time."""
    return re.sub("#[0-9a-f]{6}", lambda found: _TWINS.get(found[0], found[0]), svg)


@dataclass(frozen=True)
class Look:
    """How a learner is drawn. ``dashes`` is empty for a full line."""

    light: str
    dark: str
    marker: str
    dashes: tuple[float, ...]
    reference: bool

    def colour(self, theme: Theme) -> str:
        """The colour on that paper."""
        return self.dark if theme.name == "dark" else self.light


def looks(board: Board) -> dict[str, Look]:
    """Label -> look. Baselines and the oracle are grey and dashed, the rest have hues.

    Learners beyond the last hue repeat them with the next marker and a dashed line.
    """
    families = {row.label: row.family for part in board.panels for row in part.rows}
    references = [k for k in sorted(families) if families[k] in ("baseline", ORACLE)]
    found = {label: _reference(i) for i, label in enumerate(references)}
    found |= {label: _hue(i) for i, label in enumerate(_others(families, references))}
    return found


def _others(families: dict[str, str], references: Iterable[str]) -> list[str]:
    return sorted(set(families) - set(references))


def _reference(i: int) -> Look:
    marker = _REFERENCE_MARKERS[i % len(_REFERENCE_MARKERS)]
    return Look(_GREY["light"], _GREY["dark"], marker, _DASHES[i % len(_DASHES)], True)


def _hue(i: int) -> Look:
    lap, place = divmod(i, len(_LIGHT))
    marker = _MARKERS[(place + lap) % len(_MARKERS)]
    dashes = () if lap == 0 else _DASHES[(lap - 1) % len(_DASHES)]
    return Look(_LIGHT[place], _DARK[place], marker, dashes, False)
