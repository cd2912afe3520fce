"""metabench submission."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="submission", help="Begin a submission.", no_args_is_help=True)


class Template(StrEnum):
    """What there is to begin with."""

    METRIC = "metric"
    GRADIENT = "gradient"
    MEMORY = "memory"
    SKLEARN = "sklearn"
    LEARN2LEARN = "learn2learn"
    EASYFSL = "easyfsl"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    template: Annotated[Template, typer.Option(help="What to begin with.")] = Template.METRIC,
) -> None:
    """Write a working submission: submission.toml, learner.py, README.md."""
    from metabench.submission.starting import begin

    for path in begin(folder, template.value):
        typer.echo(str(path))
    typer.echo(f"next: edit {folder / 'learner.py'}, then metabench check {folder}")
