"""Text from records, made safe for where it goes. Records are written by strangers."""

from __future__ import annotations

import re

_MARKS = str.maketrans({mark: "\\" + mark for mark in "\\`*_[]|~$"})
_MINUS = re.compile(r"(?<![\w.)\]])-(?=\d)")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    **{mark: f"{{{mark}}}" for mark in "[]*"},  # which mean something after a line's end
    "—": "--",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "−": "$-$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "°": r"$^\circ$",
    "²": "$^2$",
    "π": r"$\pi$",
    "σ": r"$\sigma$",
    "ρ": r"$\rho$",
    "φ": r"$\varphi$",
    "Φ": r"$\Phi$",
}


def plain(text: str) -> str:
    """One line without control characters, so that a terminal shows it and does nothing else."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown(text: str) -> str:
    """Text without a meaning in Markdown or HTML."""
    return plain(text).translate(_MARKS).translate(_HTML)


def field(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = plain(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def latex(text: str) -> str:
    """Text without a meaning in LaTeX, in characters that pdflatex has; others by their number."""
    return "".join(map(_latex, _MINUS.sub("−", plain(text))))


def _latex(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    # What the T1 encoding has: ASCII and the letters of Latin 1 and Latin Extended A.
    known = character.isascii() or (character.isalpha() and "À" <= character <= "ž")
    return character if known else f"{{[}}U+{ord(character):04X}{{]}}"
