"""metabench export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What tables are written as."""

    parquet = "parquet"
    csv = "csv"
    hub = "hub"


def export(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    format: Annotated[
        Format, typer.Option(help="hub: Parquet with a card that datasets.load_dataset reads.")
    ] = Format.parquet,
) -> None:
    """Tidy tables of one or more run folders: one of cells, one of episodes."""
    from metabench import api
    from metabench.export import export as write

    for path in write(api.load_records(*folders), out, format.value):
        typer.echo(str(path))
