"""metabench report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; by default report.html in the first folder.")
    ] = None,
) -> None:
    """One self-contained HTML file about one or more run folders."""
    from metabench import api

    results = api.load_records(*folders)
    path = api.report(results, out or folders[0] / "report.html")
    typer.echo(str(path.resolve()))
