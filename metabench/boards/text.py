"""Text from records, made safe for where it goes. Records are written by strangers."""

from __future__ import annotations

_MARKS = str.maketrans({mark: "\\" + mark for mark in "\\`*_[]|~$"})
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


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
