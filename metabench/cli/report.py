"""metabench report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What a report can be written as, and the ending of its file."""

    HTML = "html"
    MARKDOWN = "markdown"
    LATEX = "latex"


ENDINGS = {Format.HTML: "html", Format.MARKDOWN: "md", Format.LATEX: "tex"}


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default report.html (.md, .tex) in the first folder."),
    ] = None,
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.HTML,
) -> None:
    """One self-contained file about one or more run folders: HTML, Markdown, or LaTeX tables."""
    from metabench import api
    from metabench.reports import write_report

    results = api.load_records(*folders)
    path = out or folders[0] / f"report.{ENDINGS[format]}"
    write_report(results, path, format.value)
    typer.echo(str(path.resolve()))
