"""One self-contained HTML file about some results."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.boards import Board, PanelBoard, Row, build_board, designs
from metabench.boards.render import ORDER_NOTE, references
from metabench.boards.verdicts import verdict
from metabench.estimators import BreakEven
from metabench.records import Record
from metabench.reports.drawing import Picture, skill_pictures, training_pictures
from metabench.reports.figures import SKILL_RANGE
from metabench.reports.overoptimisation import overoptimisation_pictures
from metabench.reports.palette import Look, looks
from metabench.reports.robustness import robustness_note, robustness_pictures
from metabench.reports.tables import (
    ConditionTable,
    EstimatorTable,
    ProbeTable,
    condition_tables,
    estimator_tables,
    probe_summary,
)
from metabench.statistics import Interval, Place, number
from metabench.store import Results, write_file

FILTERS = ("family", "track")

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Trait:
    """What the rows of a learner are filtered by."""

    family: str
    track: str


@dataclass(frozen=True)
class Variant:
    """A learner as it was run: what its label stands for."""

    label: str
    record: Record
    parameters: str


@dataclass(frozen=True)
class Section:
    """Everything the page says about one panel."""

    anchor: str
    board: PanelBoard
    inductive: list[Row]
    transductive: list[Row]
    pictures: list[Picture]
    training: list[Picture]
    conditions: list[ConditionTable]
    estimators: list[EstimatorTable]
    probes: ProbeTable | None
    overoptimisation: list[Picture]
    robustness: list[Picture]
    variants: list[Variant]
    failures: list[Record]
    seeds: int
    """The largest number of seeds that a learner finished."""


def build_report(results: Results) -> str:
    """The report as HTML: no script, nothing loaded from elsewhere, the same for the same results.

    Records may come from strangers; every text of theirs is escaped.
    """
    board = build_board(results)
    styles = looks(board)
    environment = pages()
    environment.filters["references"] = references
    environment.filters["verdict"] = verdict
    environment.filters["robustness_note"] = robustness_note
    environment.globals["order_note"] = ORDER_NOTE
    environment.filters["design_headers"] = designs.headers
    environment.filters["design_cells"] = lambda board, row: designs.cells(row, board)
    environment.filters["design_notes"] = designs.notes
    traits = {row.label: _trait(row) for part in board.panels for row in part.rows}
    template = environment.get_template("report.html.j2")
    return template.render(
        sections=[_section(i, part, styles) for i, part in enumerate(board.panels, 1)],
        designs=board.designs,
        looks=styles,
        classes={label: f"k{i}" for i, label in enumerate(sorted(styles))},
        summary=_summary(results, board),
        traits=traits,
        choices={name: sorted({getattr(t, name) for t in traits.values()}) for name in FILTERS},
    )


def pages() -> Environment:
    """What makes pages: it escapes every value, and fails on a name that is not given.

    A page gets one script, and its hash for a policy under which nothing else runs.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metabench.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "script_hash": f"sha256-{digest}"}
    environment.filters |= {
        "number": typeset,
        "across": across,
        "outside": outside,
        "sort_key": sort_key,
    }
    return environment


def write_report(results: Results, path: Path) -> None:
    """Write the report; the file appears whole or not at all."""
    write_file(Path(path), build_report(results).encode())


def typeset(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, as wide as a digit."""
    return number(value, digits).replace("-", "−")


def sort_key(value: Any) -> str:
    """What a table's script sorts a cell by; nothing for what is missing, which goes last."""
    if isinstance(value, Interval):
        value = value.mean
    elif isinstance(value, Place):
        value = value.low + value.high / 1000
    elif isinstance(value, BreakEven):
        value = math.inf if value.level is None else value.level
    if value is None or math.isnan(value):
        return ""
    return repr(float(value)).replace("inf", "Infinity")


def across(value: float) -> float:
    """Place of a skill on a track, in percent of its width; outside is cut off at the edge."""
    low, high = SKILL_RANGE
    return round(100 * (min(max(value, low), high) - low) / (high - low), 2)


def outside(interval: Interval) -> str:
    """ "low" or "high" if the mean lies off the track, else nothing."""
    low, high = SKILL_RANGE
    if interval.mean < low:
        return "low"
    return "high" if interval.mean > high else ""


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
    )


def _trait(row: Row) -> Trait:
    return Trait(row.family, "transductive" if row.transductive else "inductive")


def _section(index: int, part: PanelBoard, styles: Mapping[str, Look]) -> Section:
    variants: dict[str, Variant] = {}
    for record in part.panel.records:
        label = part.panel.label_of(record)
        parameters = ", ".join(f"{k} = {v}" for k, v in record.key.parameters.items())
        variants.setdefault(label, Variant(label, record, parameters))
    return Section(
        anchor=f"panel-{index}",
        board=part,
        inductive=[row for row in part.rows if not row.transductive],
        transductive=[row for row in part.rows if row.transductive],
        pictures=skill_pictures(part, styles),
        training=training_pictures(part, styles),
        conditions=condition_tables(part),
        estimators=estimator_tables(part),
        probes=probe_summary(part),
        overoptimisation=overoptimisation_pictures(part, styles),
        robustness=robustness_pictures(part, styles),
        variants=[variants[row.label] for row in part.rows],
        failures=[r for r in part.panel.records if r.status != "ok"],
        seeds=max((row.seeds_ok for row in part.rows), default=0),
    )
