"""One self-contained HTML file about some results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from metabench.boards import Board, PanelBoard, Row, build_board, designs
from metabench.boards.render import ORDER_NOTE, references
from metabench.records import Environment, Record
from metabench.reports.chapters import as_latex, as_markdown, chapters
from metabench.reports.drawing import Picture, skill_pictures, training_pictures
from metabench.reports.headlines import headlines
from metabench.reports.overoptimisation import Course, courses, overoptimisation_pictures
from metabench.reports.overview import overview
from metabench.reports.pages import pages
from metabench.reports.palette import Look, looks
from metabench.reports.profiles import profiles
from metabench.reports.ranking import SHOWN, performance_profiles, rank_picture
from metabench.reports.robustness import robustness_note, robustness_pictures
from metabench.reports.tables import (
    ConditionTable,
    EstimatorTable,
    ProbeTable,
    condition_tables,
    estimator_tables,
    probe_summary,
)
from metabench.store import Results, write_file

FILTERS = ("family", "track")


@dataclass(frozen=True)
class Trait:
    """What the rows of a learner are filtered by."""

    family: str
    track: str


@dataclass(frozen=True)
class Section:
    """Everything the page says about one panel."""

    anchor: str
    board: PanelBoard
    verdict: list[str]
    inductive: list[Row]
    transductive: list[Row]
    pictures: list[Picture]
    training: list[Picture]
    conditions: list[ConditionTable]
    estimators: list[EstimatorTable]
    probes: ProbeTable | None
    controls: ProbeTable | None
    """Of the learners whose fault is known."""
    overoptimisation: list[Picture]
    courses: dict[str, Course]
    robustness: list[Picture]
    failures: list[Record]
    seeds: int
    """The largest number of seeds that a learner finished."""


def build_report(results: Results, scores: pd.DataFrame | None = None) -> str:
    """The report as HTML: nothing is loaded from elsewhere, the same for the same results.

    Records may come from strangers; every text of theirs is escaped. ``scores`` as in ``overview``.
    """
    board = build_board(results)
    styles = looks(board)
    environment = pages()
    environment.filters["references"] = references
    environment.filters["robustness_note"] = robustness_note
    environment.globals["order_note"] = ORDER_NOTE
    environment.filters["design_headers"] = designs.headers
    environment.filters["design_cells"] = lambda board, row: designs.cells(row, board)
    environment.filters["design_notes"] = designs.notes
    traits = {row.label: _trait(row) for part in board.panels for row in part.rows}
    template = environment.get_template("report.html.j2")
    standings = overview(board, scores)
    sections = [_section(i, part, styles) for i, part in enumerate(board.panels, 1)]
    alike: dict[tuple[str, ...], list[Section]] = {}
    for section in sections:
        alike.setdefault(tuple(section.verdict), []).append(section)
    return template.render(
        sections=sections,
        verdicts=list(alike.values()),
        overview=standings,
        across_tasks=performance_profiles(standings.pool, styles),
        thresholds=SHOWN,
        ranks=rank_picture(standings.pool),
        profiles=profiles(board),
        environments=environments(results),
        designs=board.designs,
        looks=styles,
        classes={label: f"k{i}" for i, label in enumerate(sorted(styles))},
        summary=_summary(results, board),
        traits=traits,
        choices={name: sorted({getattr(t, name) for t in traits.values()}) for name in FILTERS},
    )


def write_report(
    results: Results, path: Path, format: str = "html", scores: pd.DataFrame | None = None
) -> None:
    """Write the report as html, markdown or latex; the file appears whole or not at all.

    ``scores`` is for html, as in ``overview``.
    """
    if format == "html":
        text = build_report(results, scores)
    else:
        write = {"markdown": as_markdown, "latex": as_latex}[format]
        text = write("Does it still learn elsewhere?", chapters(results))
    write_file(Path(path), text.encode())


@dataclass(frozen=True)
class Summary:
    """What the page is about, in numbers."""

    records: int
    failures: int
    learners: int
    first: str
    last: str
    versions: str
    one_seed: bool
    smoke: bool


def _summary(results: Results, board: Board) -> Summary:
    created = sorted(r.created for r in results.records) or [""]
    return Summary(
        records=len(results.records),
        failures=len(results.failures),
        learners=len({row.label for part in board.panels for row in part.rows}),
        first=created[0][:10],
        last=created[-1][:10],
        versions=", ".join(sorted({r.environment.metabench for r in results.records})),
        one_seed=any(row.seeds_ok == 1 for part in board.panels for row in part.rows),
        smoke=any(part.panel.preset == "smoke" for part in board.panels),
    )


def _trait(row: Row) -> Trait:
    return Trait(row.family, "transductive" if row.transductive else "inductive")


@dataclass(frozen=True)
class Site:
    """Where records were made: how many, and their hours of meta-training and evaluation."""

    environment: Environment
    records: int
    training: float
    evaluation: float


def environments(results: Results) -> list[Site]:
    """Every environment of some records, in the order of their dates."""
    found: dict[Environment, list[Record]] = {}
    for record in sorted(results.records, key=lambda r: (r.created, r.id)):
        found.setdefault(record.environment, []).append(record)
    return [
        Site(
            environment,
            len(own),
            sum(r.used.seconds for r in own) / 3600,
            sum(r.evaluation_seconds for r in own) / 3600,
        )
        for environment, own in found.items()
    ]


def _section(index: int, part: PanelBoard, styles: Mapping[str, Look]) -> Section:
    return Section(
        anchor=f"panel-{index}",
        board=part,
        verdict=headlines(part),
        inductive=[row for row in part.rows if not row.transductive],
        transductive=[row for row in part.rows if row.transductive],
        pictures=skill_pictures(part, styles),
        training=training_pictures(part, styles),
        conditions=condition_tables(part),
        estimators=estimator_tables(part),
        probes=probe_summary(part),
        controls=probe_summary(part, "control"),
        overoptimisation=overoptimisation_pictures(part, styles),
        courses=courses(part.panel),
        robustness=robustness_pictures(part, styles),
        failures=[r for r in part.panel.records if r.status != "ok"],
        seeds=max((row.seeds_ok for row in part.rows), default=0),
    )
