"""metabench validate."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer


def validate(
    healthy: Annotated[int, typer.Option(min=1, help="Replicates of the healthy learner.")] = 200,
    broken: Annotated[int, typer.Option(min=1, help="Of them with the broken learners.")] = 40,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path | None, typer.Option(help="A folder for the matrix and picture.")] = None,
) -> None:
    """Whether the probes flag learners that are broken in a known way, and no healthy one.

    Prints how often each probe flags each control, with exact one-sided 95 % bounds, and fails
    unless every false alarm rate is at most 5 % and every detection rate at least 90 %.
    """
    from metabench.reports.known_groups import markdown, picture
    from metabench.store import write_file
    from metabench.validity import known_groups, matrix

    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        if done % max(1, total // 20) == 0 or done == total:
            left = (time.monotonic() - began) / done * (total - done)
            typer.echo(f"{done} of {total} replicates, about {left:.0f} s left", err=True)

    found = matrix(known_groups(healthy, broken, workers, progress))
    text = markdown(found)
    typer.echo(text)
    if out is not None:
        command = f"metabench validate --healthy {healthy} --broken {broken}"
        rows = json.loads(found.to_json(orient="records"))
        data = {"command": command, "rows": rows}
        write_file(out / "known_groups.json", (json.dumps(data, indent=1) + "\n").encode())
        write_file(out / "known_groups.svg", picture(found).encode())
    if not found["accepted"].dropna().all():
        raise typer.Exit(1)
