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


app = typer.Typer(
    name="board", help="Tables of results, and leaderboards that rebuild.", no_args_is_help=True
)


@app.command()
def show(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="Write to a file instead.")] = None,
) -> None:
    """Print the tables of one or more run folders."""
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


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="With a board.toml and records/.")],
) -> None:
    """Make a leaderboard's tables from its records: Markdown, CSV, LaTeX, JSON and a page."""
    from metabench import leaderboards

    for path in leaderboards.build(folder):
        typer.echo(str(path))


@app.command()
def verify(
    folders: Annotated[list[Path], typer.Argument(help="Folders of leaderboards.")],
) -> None:
    """Rebuild the tables of leaderboards; exit code 1 if any differs from what is there."""
    from metabench import leaderboards

    drifted = False
    for folder in folders:
        differences = leaderboards.verify(folder)
        drifted |= bool(differences)
        typer.echo(f"{folder}: {'differs from its records' if differences else 'as its records'}")
        for difference in differences:
            typer.echo(difference)
    raise typer.Exit(int(drifted))


@app.command()
def diff(
    folder: Annotated[Path, typer.Argument(help="A leaderboard's folder.")],
    since: Annotated[
        Path | None, typer.Option(help="A build in its history/; by default the last.")
    ] = None,
) -> None:
    """Who came, went or moved since an earlier build of a leaderboard, and why."""
    from metabench import leaderboards
    from metabench.boards.text import plain

    for line in leaderboards.moves(folder, since) or ["nobody moved"]:
        typer.echo(plain(line))
