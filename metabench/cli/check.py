"""metabench check."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    learner: Annotated[str, typer.Argument(help="A name, module:Class or file.py:Class.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Prove that a learner keeps the contract, one line a property."""
    from metabench import api

    result = api.check(learner, device)
    for line in result.lines():
        typer.echo(line)
    if not result.passed:
        raise typer.Exit(1)
