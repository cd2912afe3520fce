"""The command line: one file per verb."""

from __future__ import annotations

import sys

import typer

import metabench
from metabench.cli import (
    board,
    check,
    ci,
    compare,
    episodes,
    export,
    gate,
    listing,
    power,
    report,
    run,
    score,
    submission,
    submit,
    validate,
)
from metabench.errors import MetabenchError, one_line

app = typer.Typer(
    name="metabench",
    help="The evaluation and robustness benchmark for meta-learners.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(show: bool) -> None:
    if show:
        typer.echo(metabench.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


app.command("run")(run.run)
app.command("check")(check.check)
app.command("list")(listing.list_)
app.add_typer(board.app)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("power")(power.power)
app.command("export")(export.export)
app.add_typer(submission.app)
app.command("submit")(submit.submit)
app.add_typer(episodes.app)
app.command("score")(score.score)
app.command("gate")(gate.gate)
app.command("ci")(ci.ci)
app.command("validate")(validate.validate)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2."""
    try:
        app()
    except MetabenchError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
