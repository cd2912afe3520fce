"""What the scripts without meta-training share: known answers, replicates, results.

A script declares a ``Check``: figures with a known or published answer, and a function that
measures all of them in replicate i. Replicates run one after another on one core; mean and
Student's 95 % interval are kept in ``results/<script>.json``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from common import RESULTS, Figure
from pydantic import BaseModel, ConfigDict, Field

from metabench.running.environment import describe
from metabench.statistics import number, t_interval
from metabench.store import write_atomic

Measures = Mapping[tuple[str, str], float]
"""(learner, setting) of a figure -> value."""


@dataclass(frozen=True)
class Check:
    """Known answers in one unit, and what measures them."""

    name: str
    title: str
    unit: str
    notes: str
    figures: tuple[Figure, ...]
    measure: Callable[[int], Measures]
    replicates: int = 1
    """What varies between them stands in ``notes``; 1: the result is deterministic."""
    digits: int = 2

    @property
    def path(self) -> Path:
        """The results."""
        return RESULTS / f"{self.name}.json"

    def command(self, replicates: int) -> str:
        """What measures the figures."""
        more = f" --replicates {replicates}" if replicates != self.replicates else ""
        return f"python benchmarks/reproduce/{self.name}.py{more}"


class Outcome(BaseModel):
    """What was measured of one figure."""

    model_config = ConfigDict(extra="forbid")
    learner: str
    setting: str
    mean: float
    half_width: float | None = Field(description="of the 95 % interval; None: one replicate")


class Outcomes(BaseModel):
    """A results file: one run of a script."""

    model_config = ConfigDict(extra="forbid")
    rows: list[Outcome]
    replicates: int
    command: str
    seconds: float | None = Field(description="None: not measured in one run")
    date: str
    device: str
    commit: str | None = Field(default=None, description="a + after it: with changes")


def run(check: Check, arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and replace the results."""
    parser = argparse.ArgumentParser(
        description=check.title, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=check.replicates)
    parser.add_argument("--results", type=Path, default=check.path, help="the file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    began = time.monotonic()
    measured = [check.measure(i) for i in range(options.replicates)]
    environment = describe(torch.device("cpu"))
    outcomes = Outcomes(
        rows=[summary(f, [m[f.learner, f.setting] for m in measured]) for f in check.figures],
        replicates=options.replicates,
        command=check.command(options.replicates),
        seconds=round(time.monotonic() - began, 1),
        date=datetime.now(UTC).date().isoformat(),
        device=environment.device,
        commit=environment.commit and environment.commit[:12] + "+" * bool(environment.dirty),
    )
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(options.results, (outcomes.model_dump_json(indent=1) + "\n").encode())
    print("\n".join(section(check, outcomes)))


def summary(figure: Figure, values: Sequence[float]) -> Outcome:
    """Mean and interval over the replicates."""
    interval = t_interval(values)
    half = interval.half_width if len(values) > 1 else None
    return Outcome(
        learner=figure.learner, setting=figure.setting, mean=interval.mean, half_width=half
    )


def section(check: Check, outcomes: Outcomes | None) -> list[str]:
    """The lines of the table, its notes and its run."""
    lines = [
        f"## {check.title}",
        "",
        f"{check.unit[0].upper()}{check.unit[1:]}. {check.notes}",
        "",
        "| what | setting | known | source | ours, 95 % | expected |",
        "| --- | --- | ---: | --- | ---: | ---: |",
    ]
    rows = {(row.learner, row.setting): row for row in outcomes.rows} if outcomes else {}
    for figure in check.figures:
        row = rows.get((figure.learner, figure.setting))
        cells = (figure.learner, figure.setting, figure.published, figure.source or "—")
        lines.append(f"| {' | '.join(cells)} | {ours(check, row)} | {gate(figure, row)} |")
    if outcomes is None:
        return [*lines, "", f"Run: `{check.command(check.replicates)}`, not run", ""]
    commit = f", commit {outcomes.commit}" if outcomes.commit else ""
    many = f"{outcomes.replicates:,} replicate{'s' if outcomes.replicates > 1 else ''}"
    many = "deterministic" if check.replicates == 1 else many
    time_taken = "time not kept" if outcomes.seconds is None else f"{outcomes.seconds:.0f} s"
    run = f"`{outcomes.command}`, {many}, {time_taken}, {outcomes.device}"
    return [*lines, "", f"Run: {run}, {outcomes.date}{commit}", ""]


def ours(check: Check, row: Outcome | None) -> str:
    """The measured cell."""
    if row is None:
        return "not run"
    mean = number(row.mean, check.digits)
    if row.half_width is None or math.isclose(row.half_width, 0, abs_tol=1e-12):
        return mean
    return f"{mean} ± {number(row.half_width, check.digits)}"


def gate(figure: Figure, row: Outcome | None) -> str:
    """What is expected of the mean, and whether it came."""
    if figure.gate is None:
        return ""
    side, bound = figure.gate
    if row is None:
        return f"{side} {bound:g}"
    return f"{side} {bound:g}: {'met' if figure.passes(row.mean) else '**missed**'}"


def load(path: Path) -> Outcomes | None:
    """The results, if the script was run."""
    return Outcomes.model_validate_json(path.read_bytes()) if path.exists() else None
