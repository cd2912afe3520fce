"""metabench board."""

from __future__ import annotations

from enum import StrEnum
from io import StringIO
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
        with_colour = Console(record=True, file=StringIO(), width=160)
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
    replay: Annotated[
        int,
        typer.Option(
            min=0, help="Run so many cells of baselines again and compare them bit for bit."
        ),
    ] = 0,
) -> None:
    """Rebuild the tables of leaderboards; exit code 1 if any differs from what is there.

    Private records must belong to the board's commitment, and the secret, once it is revealed, must
    hash to it.
    """
    from metabench import leaderboards

    drifted = False
    for folder in folders:
        differences = leaderboards.verify(folder)
        drifted |= bool(differences)
        typer.echo(f"{folder}: {'differs from its records' if differences else 'as its records'}")
        for difference in differences:
            typer.echo(difference)
        if replay:
            drifted |= _replayed(folder, replay)
    raise typer.Exit(int(drifted))


def _replayed(folder: Path, count: int) -> bool:
    """Run cells of baselines again, private ones first; whether any gave other numbers."""
    from metabench import leaderboards
    from metabench.running.replay import replay, replayable
    from metabench.salt import parse_salt
    from metabench.store import Store

    revealed = leaderboards.load_spec(folder).private.secret
    secret = None if revealed is None else parse_salt(revealed, "secret")
    results = Store(folder).load()
    able = [r for r in results.records if replayable(r) and (secret is not None or not r.key.salt)]
    able.sort(key=lambda r: (not r.key.salt, r.id))
    problems = [p for r in able[:count] if (p := replay(results, r, secret)) is not None]
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"{folder}: {len(able[:count])} cells run again, {len(problems)} differ")
    return bool(problems)


SALT = Annotated[
    Path | None,
    typer.Option(help="File of the secret; by default the folder's name with .salt, beside it."),
]


@app.command()
def salt(
    folder: Annotated[Path, typer.Argument(help="A leaderboard's folder.")],
    release: Annotated[str | None, typer.Option(help="Its name; by default the date.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File for the secret, outside the folder; by default beside it."),
    ] = None,
) -> None:
    """Open a release: make the secret of its private episodes and commit the board to it."""
    from metabench import leaderboards

    path = leaderboards.open_release(folder, release, out)
    typer.echo(f"{path}: the secret; keep it, tell nobody, and don't commit it")
    typer.echo(f"{folder / 'board.toml'}: its commitment; publish this before anyone is scored")


@app.command()
def submit(
    folder: Annotated[Path, typer.Argument(help="A leaderboard's folder.")],
    run: Annotated[Path, typer.Argument(help="A run folder made with --salt.")],
    author: Annotated[str, typer.Option(help="Who submits: one public score each.")],
    learner: Annotated[
        str | None, typer.Option(help="Of the run; needed where it has several.")
    ] = None,
    salt: SALT = None,
) -> None:
    """Score a submission on private episodes; its author hears a new score if the Ladder moves."""
    from metabench import leaderboards
    from metabench.boards.text import plain

    heard = leaderboards.submit(folder, run, author, learner, salt)
    typer.echo(plain(f"submission {heard.number}, {heard.author}: {heard.outcome}"))
    typer.echo(f"public score {heard.score:.4f}")


@app.command()
def reveal(
    folder: Annotated[Path, typer.Argument(help="A leaderboard's folder.")],
    salt: SALT = None,
) -> None:
    """End a release: publish its secret and the records behind the public scores."""
    from metabench import leaderboards

    for path in leaderboards.reveal(folder, salt):
        typer.echo(str(path))


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
