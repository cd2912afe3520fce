"""metabench check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.isolation import IsolationOption


def check(
    learner: Annotated[
        str, typer.Argument(help="A name, module:Class, file.py:Class, or a submission's folder.")
    ],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    isolation: IsolationOption = "auto",
) -> None:
    """Prove that a learner keeps the contract, one line a property.

    A submission's manifest and folder are looked through first; its code runs contained.
    """
    from metabench import api
    from metabench.boards.text import plain

    if Path(learner).is_dir():
        lines, passed = api.check_submission(learner, isolation)
    else:
        result = api.check(learner, device)
        lines, passed = result.lines(), result.passed
    for line in lines:
        typer.echo(plain(line))
    if not passed:
        raise typer.Exit(1)
