"""A board as Markdown, CSV and a terminal table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from metabench.boards import designs
from metabench.boards.board import Board, PanelBoard, Row
from metabench.boards.text import field, markdown, plain
from metabench.boards.verdicts import verdict
from metabench.estimators import Panel
from metabench.statistics import Interval, number

if TYPE_CHECKING:
    from rich.console import Console

MISSING = "—"
LEFT = ("learner", "family", "worst condition", "first s*")
"""Columns of words."""
DISPENSABLE = ("worst condition", "first s*", "AUS", "seeds", "family", "CVaR10 risk", "tasks")
"""Columns that a narrow terminal does without, the most useful first."""
SETTING_COLUMNS = (
    "settings",
    "setting_mean",
    "setting_median",
    "setting_best",
    "v95",
    "failed_settings",
    "phi",
)
ORDER_NOTE = (
    "Ordered by out-of-distribution skill, or by skill in distribution where there is no other. A "
    "rank is a set: with 95 % confidence all sets hold at once, among the learners of this table "
    "and over the levels that all of them have (paired tests over seeds, adjusted by Holm)."
)
ONE_SEED_NOTE = "1 seed: no interval, so no difference here is known to be more than chance."


def headers(board: PanelBoard) -> list[str]:
    """Column titles; the raw metric says in which direction it is better."""
    metric = "accuracy ↑" if board.panel.protocol.metric == "accuracy" else "MSE ↓"
    return [
        "learner",
        "family",
        "seeds",
        metric,
        "skill",
        "OOD skill",
        "rank",
        "worst condition",
        "AUS",
        "first s*",
        "CVaR10 risk",
        "tasks",
        *(["flags"] if board.panel.protocol.probes else []),
    ]


def cells(row: Row, board: PanelBoard) -> list[str]:
    """One learner's row as text."""
    worst = MISSING if row.worst is None else f"{number(row.worst[1])} {row.worst[0]}"
    first = row.break_even
    return [
        row.label + (" (transductive)" if row.transductive else ""),
        row.family,
        f"{row.seeds_ok}/{row.seeds}" if row.problems else str(row.seeds),
        _text(row.metric, 3),
        _text(row.skill),
        _text(row.ood_skill),
        MISSING if row.place is None else row.place.text,
        worst,
        _text(row.aus),
        MISSING if first is None else _break_even(row),
        _text(row.cvar, 3),
        f"{row.tasks:,.0f}",
        *([flags(row)] if board.panel.protocol.probes else []),
    ]


def flags(row: Row) -> str:
    """The probes that fired; what could not be decided is not called clean."""
    if row.flags or not row.undecided:
        return ", ".join(row.flags) or MISSING
    return f"{row.undecided} undecided"


def references(board: PanelBoard) -> list[str]:
    """Figures from elsewhere that belong beside the table."""
    protocol = board.panel.protocol
    titles = {c.name: c.title for c in protocol.conditions}
    unit = "accuracy" if protocol.metric == "accuracy" else "mean squared error"
    return [
        f"{r.name}: {unit} {number(r.value, 3)}, {titles.get(r.condition, 'in distribution')} "
        f"({r.source})."
        for r in protocol.references
    ]


def notes(board: PanelBoard) -> list[str]:
    """What a reader must know beside the table."""
    panel, lines = board.panel, [*references(board), ORDER_NOTE]
    if panel.preset == "smoke":
        lines.append(designs.SMOKE_NOTE)
    if any(r.seeds_ok == 1 for r in board.rows):
        lines.append(ONE_SEED_NOTE)
    for row in board.rows:
        lines += [f"{row.label}: {problem}" for problem in row.problems]
    if board.unidentifiable:
        levels: dict[str, list[str]] = {}
        for condition, level in board.unidentifiable:
            levels.setdefault(condition, []).append(str(level))
        where = "; ".join(f"{c} at level {', '.join(n)}" for c, n in levels.items())
        lines.append(f"Unidentifiable, so left out (best baseline and oracle too close): {where}.")
    if any(r.provenance == "claimed" for r in board.rows):
        lines.append("Results are claimed by whoever ran them; nobody else has verified them.")
    return lines


def _fitting(
    table: list[list[str]], width: int, dispensable: Sequence[str] = DISPENSABLE
) -> list[int]:
    """The columns of a table, titles first, that a terminal of that width can show.

    The last of ``dispensable`` goes first; what remains may still be too wide.
    """
    kept = list(range(len(table[0])))
    wide = [max(len(row[i]) for row in table) + 3 for i in kept]
    for title in reversed(dispensable):
        if sum(wide[i] for i in kept) + 1 > width:
            kept.remove(table[0].index(title))
    return kept


def to_terminal(board: Board, console: Console) -> None:
    """Print every panel."""
    from rich.markup import escape
    from rich.table import Table

    for part in board.panels:
        titles, rows = headers(part), [[plain(c) for c in cells(r, part)] for r in part.rows]
        kept = _fitting([titles, *rows], console.width)
        table = Table(title=escape(plain(part.title)), title_justify="left", title_style="bold")
        for i in kept:
            side: Literal["left", "right"] = "left" if titles[i] in LEFT else "right"
            table.add_column(titles[i], justify=side, no_wrap=True)
        for before, row, texts in zip((None, *part.rows), part.rows, rows, strict=False):
            if before is not None and row.transductive != before.transductive:
                table.add_section()
            style = None if row.family not in ("baseline", "control", "oracle") else "dim"
            table.add_row(*[escape(texts[i]) for i in kept], style=style)
        console.print(table)
        _print_notes(console, titles, kept, "csv", notes(part))
    for design in board.designs:
        titles = designs.headers(design)
        rows = [[plain(c) for c in designs.cells(row, design)] for row in design.rows]
        words = [i for i, title in enumerate(titles) if title in designs.WORDS]
        short = [[c[: designs.WIDTH] if i in words else c for i, c in enumerate(r)] for r in rows]
        kept = _fitting([titles, *short], console.width, designs.DISPENSABLE)
        table = Table(title=escape(plain(design.title)), title_justify="left", title_style="bold")
        for i in kept:
            side = "left" if i in words or i == 0 else "right"
            table.add_column(titles[i], justify=side, no_wrap=i not in words)
        for texts in rows:
            table.add_row(*[escape(texts[i]) for i in kept])
        console.print(table)
        _print_notes(console, titles, kept, "markdown", designs.notes(design))


def _print_notes(
    console: Console, titles: list[str], kept: list[int], elsewhere: str, notes: list[str]
) -> None:
    """What a terminal has no room for, and what a reader must know."""
    from rich.markup import escape

    if left_out := [title for i, title in enumerate(titles) if i not in kept]:
        told = f"Not shown for want of width, and in --format {elsewhere}: {', '.join(left_out)}."
        console.print(told, style="dim", highlight=False)
    for note in notes:
        console.print(escape(plain(note)), style="dim", highlight=False)
    console.print()


def to_markdown(board: Board) -> str:
    """Every panel as a Markdown table."""
    parts = []
    for part in board.panels:
        titles = headers(part)
        lines = [
            f"## {markdown(part.title)}",
            "",
            f"fingerprint {markdown(part.panel.fingerprint)}",
            "",
            *(part_of for s in verdict(part) for part_of in (markdown(s), "")),
        ]
        lines += _table(titles, [cells(r, part) for r in part.rows], notes(part))
        parts.append("\n".join(lines))
    for design in board.designs:
        rows = [designs.cells(row, design) for row in design.rows]
        lines = [f"## {markdown(design.title)}", ""]
        lines += _table(designs.headers(design), rows, designs.notes(design))
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _table(titles: list[str], rows: list[list[str]], notes: list[str]) -> list[str]:
    """A Markdown table and a list below it."""
    return [
        "| " + " | ".join(titles) + " |",
        "|" + "|".join(" --- " for _ in titles) + "|",
        *("| " + " | ".join(markdown(cell) for cell in row) + " |" for row in rows),
        "",
        *(f"- {markdown(note)}" for note in notes),
        "",
    ]


def to_csv(board: Board) -> str:
    """One line a learner and panel; numbers in full, an empty field for what is missing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    measured = ("metric", "skill", "ood_skill", "aus", "cvar10")
    writer.writerow(
        ["suite", "source", "preset", "fingerprint", "salt", "learner", "family", "transductive"]
        + ["provenance", "seeds_ok", "seeds", "metric_name"]
        + [f"{name}{end}" for name in measured for end in ("", "_low", "_high")]
        + [
            "rank_low",
            "rank_high",
            "tier",
            "worst_condition",
            "worst_skill",
            "break_even_condition",
            "break_even",
            "tasks",
            "flags",
            "undecided_probes",
            "status",
            *SETTING_COLUMNS,
        ]
    )
    for part in board.panels:
        p = part.panel
        for r in part.rows:
            numbers: list[object] = []
            for interval in (r.metric, r.skill, r.ood_skill, r.aus, r.cvar):
                numbers += ["", "", ""] if interval is None else _numbers(interval)
            condition, level = ("", "") if r.break_even is None else _break_even_fields(r)
            writer.writerow(
                [field(p.suite), field(p.source), field(p.preset), field(p.fingerprint), p.salt]
                + [field(r.label), field(r.family), r.transductive, r.provenance]
                + [r.seeds_ok, r.seeds, p.protocol.metric, *numbers]
                + ([""] * 3 if r.place is None else [r.place.low, r.place.high, r.place.tier])
                + (["", ""] if r.worst is None else [field(r.worst[0]), r.worst[1]])
                + [condition, level, r.tasks, " ".join(r.flags), r.undecided, r.status]
                + _settings(board, p, r.label)
            )
    return out.getvalue()


def _settings(board: Board, panel: Panel, label: str) -> list[object]:
    """What a design says of a learner at one source, and Phi, which is over all of them."""
    for design in board.designs:
        for row in design.rows if any(panel is p for p in design.panels) else ():
            for spread in row.spreads:
                if (row.label, spread.source) == (label, panel.source):
                    scores = [spread.mean, spread.median, spread.best]
                    found = ["" if math.isnan(v) else v for v in scores]
                    phi = "" if row.phi is None else row.phi.mean
                    return [row.settings, *found, spread.near_best, spread.failed, phi]
    return [""] * len(SETTING_COLUMNS)


def _text(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return MISSING
    if interval.half_width is None:
        return number(interval.mean, digits)
    return interval.text(digits)


def _break_even(row: Row) -> str:
    if row.break_even is None:
        return MISSING
    condition, found = row.break_even
    return found.text() if found.level is None else f"{found.text()} {condition}"


def _break_even_fields(row: Row) -> tuple[str, str]:
    if row.break_even is None:
        return "", ""
    condition, found = row.break_even
    return field(condition), "" if found.level is None else str(found.level)


def _numbers(interval: Interval) -> list[object]:
    return [interval.mean, *("" if v is None else v for v in (interval.low, interval.high))]
