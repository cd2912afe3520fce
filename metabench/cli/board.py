"""metabench board."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What a board can be written as."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"


def board(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="Write to a file instead.")] = None,
) -> None:
    """The leaderboard of one or more run folders."""
    from rich.console import Console

    from metabench import api
    from metabench.boards import to_csv, to_markdown, to_terminal
    from metabench.store import write_file

    made = api.board(api.load_records(*folders))
    if format is Format.TABLE:
        if out is None:
            to_terminal(made, Console())
            return
        with_colour = Console(record=True, quiet=True, width=160)
        to_terminal(made, with_colour)
        text = with_colour.export_text()
    else:
        text = to_markdown(made) if format is Format.MARKDOWN else to_csv(made)
    if out is None:
        typer.echo(text)
    else:
        write_file(out, text.encode())
        typer.echo(str(out))
