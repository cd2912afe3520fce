"""A report, or a comparison, as text: chapters of sentences and tables, in Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metabench.boards import PanelBoard, build_board, designs, render
from metabench.boards.text import latex, markdown
from metabench.records import Record
from metabench.reports.headlines import headlines
from metabench.reports.overview import Overview, overview
from metabench.reports.tables import ProbeTable, Verdict, condition_tables, probe_summary
from metabench.statistics import Interval, number
from metabench.store import Results

MISSING = "—"
OVERVIEW_NOTES = (
    "IQM is the interquartile mean of skill over {} tasks (a suite's conditions, in distribution "
    "included) and seeds; ± is a 95 % interval by resampling seeds, each with all its tasks. A "
    "learner that lacks a task or a cell has none.",
    "A rank is a set: with 95 % confidence all of a track hold at once (paired tests over seeds, "
    "adjusted by Holm).",
)
PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,graphicx}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\begin{document}
\raggedright
"""


@dataclass(frozen=True)
class Sheet:
    """A table of words: the first column names the row."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chapter:
    """A heading, sentences, tables."""

    title: str
    sentences: list[str]
    sheets: list[Sheet]


def chapters(results: Results) -> list[Chapter]:
    """The report's text: all suites, designs, every panel, where records were made."""
    board = build_board(results)
    found = []
    if len(board.panels) > 1:
        found.append(Chapter("All suites", [], _overview(overview(board))))
    for design in board.designs:
        rows = [designs.cells(row, design) for row in design.rows]
        sheet = Sheet("Settings", designs.headers(design), rows, designs.notes(design))
        found.append(Chapter(design.title, [], [sheet]))
    for part in board.panels:
        rows = [render.cells(row, part) for row in part.rows]
        sheets = [Sheet("Board", render.headers(part), rows, render.notes(part))]
        if (probes := probe_summary(part)) is not None:
            sheets.append(_probes(probes))
        sheets += _conditions(part)
        found.append(Chapter(part.title, headlines(part), sheets))
    return [*found, Chapter("Environment and budget", [], [_environments(results.records)])]


def _overview(made: Overview) -> list[Sheet]:
    sheets = []
    titles = [f"{p.panel.suite} / {p.panel.source}" for p in made.panels]
    headers = ["learner", "skill, IQM", "rank", "mean rank", "flags", "worst suite", *titles]
    notes = [note.format(made.tasks) for note in OVERVIEW_NOTES]
    if made.note:
        notes = [f"Nothing is aggregated: {made.note}."]
    if made.salt:
        notes.append("Private episodes only; the public ones have chapters of their own.")
    for track, standings in made.tracks.items():
        rows = [
            [
                s.label,
                s.reason or _text(s.iqm),
                MISSING if s.place is None else s.place.text,
                _text(s.mean_rank, 1),
                str(s.flags),
                MISSING if s.worst is None else f"{_text(s.worst[1])} {s.worst[0]}",
                *(MISSING if row is None else _text(row.ood_skill or row.skill) for row in s.rows),
            ]
            for s in standings
        ]
        sheets.append(Sheet(f"{track.capitalize()} track", headers, rows, notes))
    return sheets


def _probes(table: ProbeTable) -> Sheet:
    titles = [f"{title}, flagged {limit}" for title, limit in table.columns]
    rows = [[label, *(_verdict(v) for v in verdicts)] for label, verdicts in table.rows]
    return Sheet("Probes", ["learner", *titles], rows)


def _verdict(found: Verdict | None) -> str:
    if found is None:
        return MISSING
    words = {True: " flagged", False: "", None: " undecided"}
    return number(found.mean) + words[found.flagged]


def _conditions(part: PanelBoard) -> list[Sheet]:
    metric = "accuracy" if part.panel.protocol.metric == "accuracy" else "MSE"
    sheets = []
    for table in condition_tables(part):
        titles = [level.title for level in table.levels]
        rows = [
            [label, *(f"{_text(c.skill)}; {_text(c.metric, 3)}" for c in cells)]
            for label, cells in table.rows
        ]
        title = f"{table.name}, {table.subtitle}: skill; {metric}"
        sheets.append(Sheet(title, ["learner", *titles], rows))
    return sheets


def _environments(records: Sequence[Record]) -> Sheet:
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        e = record.environment
        software = f"metabench {e.metabench}, python {e.python}, torch {e.torch}, numpy {e.numpy}"
        commit = f"{(e.commit or MISSING)[:10]}{' with local changes' if e.dirty else ''}"
        found.setdefault((e.device, e.platform, software, commit), []).append(record)
    rows = [
        [
            *where,
            str(len(own)),
            number(sum(r.used.seconds for r in own) / 3600),
            number(sum(r.evaluation_seconds for r in own) / 3600),
        ]
        for where, own in sorted(found.items())
    ]
    titles = ["device", "platform", "software", "commit", "records"]
    return Sheet("Environments", [*titles, "meta-training, hours", "evaluation, hours"], rows)


def _text(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return MISSING
    return number(interval.mean, digits) if interval.half_width is None else interval.text(digits)


def as_markdown(title: str, found: Sequence[Chapter]) -> str:
    """Markdown in which nothing from a record has a meaning."""
    lines = [f"# {markdown(title)}", ""]
    for chapter in found:
        lines += [f"## {markdown(chapter.title)}", ""]
        for sentence in chapter.sentences:
            lines += [markdown(sentence), ""]
        for sheet in chapter.sheets:
            lines += [f"### {markdown(sheet.title)}", ""]
            lines += ["| " + " | ".join(markdown(h) for h in sheet.headers) + " |"]
            lines += ["| --- |" + " ---: |" * (len(sheet.headers) - 1)]
            lines += ["| " + " | ".join(markdown(c) for c in row) + " |" for row in sheet.rows]
            lines += ["", *(f"- {markdown(note)}" for note in sheet.notes)]
            lines += [""] if sheet.notes else []
    return "\n".join(lines)


def as_latex(title: str, found: Sequence[Chapter]) -> str:
    """A document of booktabs tables for pdflatex; a table wider than the page is made smaller."""
    lines = [PREAMBLE + rf"\section*{{{latex(title)}}}"]
    for chapter in found:
        lines += [rf"\subsection*{{{latex(chapter.title)}}}"]
        lines += [latex(sentence) + r"\par" for sentence in chapter.sentences]
        for sheet in chapter.sheets:
            lines += ["", rf"\subsubsection*{{{latex(sheet.title)}}}"]
            lines += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"]
            lines += [rf"\begin{{tabular}}{{l{'r' * (len(sheet.headers) - 1)}}}", r"\toprule"]
            lines += [" & ".join(map(latex, sheet.headers)) + r" \\", r"\midrule"]
            lines += [" & ".join(map(latex, row)) + r" \\" for row in sheet.rows]
            lines += [r"\bottomrule", r"\end{tabular}}\par"]
            lines += [rf"{{\small {latex(note)}\par}}" for note in sheet.notes]
    return "\n".join([*lines, r"\end{document}", ""])
