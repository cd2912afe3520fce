"""metabench validate."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Part(StrEnum):
    """What there is to validate."""

    matrix = "matrix"
    mechanisms = "mechanisms"


Parts = Annotated[
    list[Part] | None,
    typer.Option("--part", help="The matrix, or the mechanisms outside it; by default both."),
]


def validate(
    healthy: Annotated[int, typer.Option(min=1, help="Replicates of the healthy, at most.")] = 200,
    broken: Annotated[int, typer.Option(min=1, help="Replicates of the broken learners.")] = 40,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    part: Parts = None,
    out: Annotated[Path | None, typer.Option(help="A folder for tables and picture.")] = None,
) -> None:
    """Whether the probes flag learners that are broken in a known way, and no healthy one.

    Prints how often each probe flags each control, with exact one-sided 95 % bounds, and fails
    unless every false alarm rate is at most 5 % and every detection rate at least 90 %. Where
    nothing happens a rate may not be proved to be above 5 %.
    """
    import pandas as pd

    from metabench.reports.known_groups import listing, markdown, picture
    from metabench.store import write_file
    from metabench.validity import KNOWN, MECHANISMS, NOTHING, matrix, study

    began = time.monotonic()
    chosen = part or list(Part)
    groups = {Part.matrix: (KNOWN,), Part.mechanisms: (*MECHANISMS, NOTHING)}

    def progress(done: int, total: int) -> None:
        if done % max(1, total // 20) == 0 or done == total:
            left = (time.monotonic() - began) / done * (total - done)
            typer.echo(f"{done} of {total} replicates, about {left:.0f} s left", err=True)

    judged = study([g for p in chosen for g in groups[p]], healthy, broken, workers, progress)
    accepted = True
    for which in chosen:
        found = pd.concat(
            [matrix(j) for j in judged if j.group in groups[which]], ignore_index=True
        )
        typer.echo((markdown if which is Part.matrix else listing)(found) + "\n")
        accepted &= bool(found["accepted"].dropna().all())
        if out is None:
            continue
        name = "known_groups" if which is Part.matrix else "mechanisms"
        data = {
            "command": f"metabench validate --healthy {healthy} --broken {broken}",
            "rows": json.loads(found.to_json(orient="records")),
        }
        write_file(out / f"{name}.json", (json.dumps(data, indent=1) + "\n").encode())
        if which is Part.matrix:
            write_file(out / "known_groups.svg", picture(found).encode())
    if not accepted:
        raise typer.Exit(1)
