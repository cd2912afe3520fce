"""What a suite that varies what is set by hand says of each learner: rows of text."""

from __future__ import annotations

import math

from metabench.boards.board import DesignBoard
from metabench.estimators import Sensitivity
from metabench.statistics import Interval, number

MISSING = "—"
SMOKE_NOTE = "The smoke preset proves that everything runs; its budgets are too small to conclude."
MATTERS = 3
"""Knobs that are named."""
WORDS, WIDTH = ("knobs that matter", "flags"), 24
"""Columns that wrap, and how much room they ask for."""
DISPENSABLE = ("median", "best", "flags", "knobs that matter", "Phi ↓", "mean", "seeds", "settings")
"""Columns that a narrow terminal does without, the most useful first."""
SCORE_NOTE = (
    "Scores are skill in distribution over random settings of the learner's knobs, mean over "
    "sources. Failed: the training diverged, did not finish, or has ten times the risk of the "
    "best prediction without support; it counts as the worst. Best: chosen on one half of the "
    "episodes, scored on the other. V95: share of settings at 0.95 of the best or above. Phi: "
    "what tuning to each source wins over one setting for all."
)
RANGE_NOTE = "In brackets: 95 % bootstrap interval over settings; ± is over sources and seeds."


def headers(board: DesignBoard) -> list[str]:
    """Column titles."""
    return [
        "learner",
        "settings",
        "seeds",
        "default",
        "mean",
        "median",
        "best",
        "V95 ↑",
        "Phi ↓",
        "failed ↓",
        *(f"rho_{k} ↓" for k in ratios(board)),
        "knobs that matter",
        "flags",
    ]


def ratios(board: DesignBoard) -> list[int]:
    """The k for which some learner has a rho_k."""
    return sorted({k for row in board.rows for k in row.ratios})


def cells(row: Sensitivity, board: DesignBoard) -> list[str]:
    """One learner's row as text."""
    v95 = _interval(row.near_best)
    points = row.near_best_points
    found = [row.ratios.get(k) for k in ratios(board)]
    return [
        row.label,
        str(row.settings),
        str(row.seeds),
        _number(row.default),
        _number(row.mean),
        _number(row.median),
        _number(row.best),
        f"{v95} [{number(points.low)}, {number(points.high)}]",
        MISSING if row.phi is None else _interval(row.phi),
        f"{100 * row.failed:.0f} %",
        *(
            MISSING if r is None else f"{number(r.value)} [{number(r.low)}, {number(r.high)}]"
            for r in found
        ),
        knobs(row),
        ", ".join(board.flags.get(row.label, ())) or MISSING,
    ]


def knobs(row: Sensitivity) -> str:
    """The knobs of the largest total indices, and how far these can be trusted."""
    if row.knobs is None:
        return row.reason
    most = row.knobs.sort_values("total", ascending=False).head(MATTERS)
    pairs = zip(most["knob"], most["total"], strict=True)
    named = ", ".join(f"{knob} {number(total)}" for knob, total in pairs)
    explained = row.explained
    if explained is None or math.isnan(explained):
        return "none: every setting scores the same"
    return f"{named} (explains {100 * max(explained, 0):.0f} %)"


def notes(board: DesignBoard) -> list[str]:
    """What a reader must know beside the table."""
    lines = [SCORE_NOTE, RANGE_NOTE]
    for label, lost, whole in board.diverged:
        lines.append(f"{label}: {lost} of {whole} trainings diverged; they count as failed.")
    if board.panels[0].preset == "smoke":
        lines.append(SMOKE_NOTE)
    for row in board.rows:
        if not row.learns:
            lines.append(
                f"{row.label}: no setting is better than guessing without support, so that being "
                "near the best says nothing."
            )
        if row.terminates is not None:
            word = "supported" if row.terminates else "not supported"
            lines.append(f"{row.label}: that higher levels matter less is {word}.")
    return lines


def _number(value: float | None) -> str:
    return MISSING if value is None or math.isnan(value) else number(value)


def _interval(interval: Interval) -> str:
    return number(interval.mean) if interval.half_width is None else interval.text()
