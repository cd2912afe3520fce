"""metabench list."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class What(StrEnum):
    """What can be listed."""

    SUITES = "suites"
    LEARNERS = "learners"
    TASKS = "tasks"


def list_(what: Annotated[What, typer.Argument(help="What to list.")]) -> None:
    """Suites, learners or tasks that are installed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    columns, rows = {
        What.SUITES: _suites,
        What.LEARNERS: _learners,
        What.TASKS: _tasks,
    }[what]()
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


Listing = tuple[list[str], list[list[str]]]


def _suites() -> Listing:
    from metabench.suite import load_suite, suite_names

    rows = []
    for name in suite_names():
        suite = load_suite(name)
        sources = ", ".join(s.name for s in suite.source)
        conditions = str(sum(len(s.condition) for s in suite.source))
        presets = ", ".join(suite.preset)
        rows.append([name, suite.kind, sources, conditions, presets, suite.fingerprint])
    return ["suite", "kind", "sources", "conditions", "presets", "fingerprint"], rows


def _learners() -> Listing:
    from metabench.learners import LEARNERS
    from metabench.learners.build import parameter_model

    rows = []
    for name in LEARNERS:
        learner = LEARNERS.get(name)
        fields = parameter_model(learner).model_fields
        parameters = ", ".join(f"{k}={f.default}" for k, f in fields.items())
        card = learner.card
        rows.append([name, card.family, ", ".join(card.kinds), parameters, card.citation])
    return ["learner", "family", "kinds", "hyper-parameters", "citation"], rows


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
