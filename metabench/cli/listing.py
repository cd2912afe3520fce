"""metabench list."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin

import typer

from metabench.errors import MetabenchError

if TYPE_CHECKING:
    from rich.table import Table

    from metabench.records import Knob


class What(StrEnum):
    """What can be listed."""

    SUITES = "suites"
    LEARNERS = "learners"
    TASKS = "tasks"


def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    name: Annotated[
        str | None, typer.Argument(help="A learner, to see its hyper-parameters one by one.")
    ] = None,
) -> None:
    """Suites, learners or tasks that are installed."""
    from rich.console import Console

    console = Console()
    if name is None:
        columns, rows = {
            What.SUITES: _suites,
            What.LEARNERS: _learners,
            What.TASKS: _tasks,
        }[what]()
    elif what is What.LEARNERS:
        heading, columns, rows = _learner(name)
        console.print(heading + "\n", markup=False, highlight=False)
    else:
        raise MetabenchError(f"list {what}: only learners are listed by name, found {name!r}")
    console.print(_table(columns, rows))


def _table(columns: list[str], rows: list[list[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


Listing = tuple[list[str], list[list[str]]]


def _suites() -> Listing:
    from metabench.suite import load_suite, suite_names

    rows = []
    for name in suite_names():
        suite = load_suite(name)
        sources = ", ".join(s.name for s in suite.source)
        conditions = str(sum(len(s.condition) for s in suite.source))
        presets = ", ".join(suite.preset)
        rows.append(
            [name, " and ".join(suite.kinds), sources, conditions, presets, suite.fingerprint]
        )
    return ["suite", "kind", "sources", "conditions", "presets", "fingerprint"], rows


def _learners() -> Listing:
    from metabench.learners import LEARNERS
    from metabench.learners.build import parameter_model

    rows = []
    for name in LEARNERS:
        learner = LEARNERS.get(name)
        card = learner.card
        parameters = ", ".join(parameter_model(learner).model_fields)
        kinds = ", ".join(card.kinds) + (" (transductive)" if card.transductive else "")
        rows.append([name, card.family, kinds, parameters, card.citation])
    rows.sort(key=lambda row: (row[1], row[0]))
    return ["learner", "family", "kinds", "hyper-parameters", "citation"], rows


def _learner(name: str) -> tuple[str, list[str], list[list[str]]]:
    """What a learner is, and its hyper-parameters with type, default and description."""
    from metabench.learners import LEARNERS
    from metabench.learners.build import parameter_model

    learner = LEARNERS.get(name)
    card = learner.card
    track = "transductive" if card.transductive else "inductive"
    lines = [
        f"{name}: {card.family}, {' and '.join(card.kinds)}, {track}",
        card.citation,
        "",
        inspect.cleandoc(learner.__doc__ or ""),
    ]
    rows = []
    for key, field in parameter_model(learner).model_fields.items():
        default = "required" if field.is_required() else str(field.default)
        allowed = ", ".join([*_bounds(field.metadata), *_inner_bounds(field.annotation)])
        prior = "; ".join(_prior(knob) for knob in card.knobs if knob.field == key)
        what = field.description or ""
        rows.append([key, _type(field.annotation), default, allowed, what, prior])
    columns = ["hyper-parameter", "type", "default", "allowed", "what it is", "prior as a knob"]
    if not card.knobs:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return "\n".join(lines), columns, rows


def _prior(knob: Knob) -> str:
    """``0.001 to 0.1, log, level 0 (regression)``."""
    scale = ", log" if knob.log else ""
    level = "" if knob.level is None else f", level {knob.level}"
    kinds = f" ({knob.kinds[0]})" if len(knob.kinds) == 1 else ""
    return f"{knob.low:g} to {knob.high:g}{scale}{level}{kinds}"


def _bounds(metadata: Iterable[object]) -> list[str]:
    """``Ge(ge=1)`` -> ``≥ 1``."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return [
        f"{sign} {getattr(bound, name)}"
        for bound in metadata
        for name, sign in signs.items()
        if hasattr(bound, name)
    ]


def _inner_bounds(annotation: object) -> list[str]:
    """The bounds of the members of a union."""
    members = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return [b for m in members[1:] for b in _bounds([m, *getattr(m, "metadata", [])])]
    if get_origin(annotation) in (Union, UnionType):
        return [b for member in members for b in _inner_bounds(member)]
    return []


def _type(annotation: object) -> str:
    """``int | None`` rather than ``typing.Optional[int]``."""
    members = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(_type(member) for member in members)
    if get_origin(annotation) is Annotated:
        return _type(members[0])
    if get_origin(annotation) is Literal:
        return " | ".join(repr(member) for member in members)
    if annotation is type(None):
        return "None"
    return getattr(annotation, "__name__", str(annotation))


def _tasks() -> Listing:
    from metabench.tasks import TASKS

    rows = []
    for name in TASKS:
        task = TASKS.get(name)
        parameters = ", ".join(
            k if f.is_required() else f"{k}={f.default}" for k, f in task.model_fields.items()
        )
        rows.append([name, task.kind, task.summary, parameters, ", ".join(task.axes)])
    return ["task", "kind", "what", "parameters", "axes of shift"], rows
