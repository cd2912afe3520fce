"""metabench gate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from metabench.gate import Verdict


class Rule(StrEnum):
    """Which error is capped."""

    BLOCK = "block"
    MERGE = "merge"


class Unit(StrEnum):
    """What differences are in."""

    AUTO = "auto"
    ACCURACY = "accuracy"
    SKILL = "skill"


class Format(StrEnum):
    """What a verdict can be printed as."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


JUNIT = Annotated[Path | None, typer.Option(help="Write JUnit XML there.")]
GITHUB = Annotated[
    bool, typer.Option("--github", help="Print annotations, write the job's summary.")
]
FORMAT = Annotated[Format, typer.Option(help="How to print the verdict.")]


def gate(
    candidate: Annotated[Path, typer.Option(help="The run folder that is judged.")],
    baseline: Annotated[
        Path | None, typer.Option(help="A run folder, or a leaderboard's folder.")
    ] = None,
    learner: Annotated[
        str | None, typer.Option(help="Who is judged; by default the only entrant.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Whom of the baseline; by default of the same name.")
    ] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="Only these suites; may be repeated.")
    ] = None,
    rule: Annotated[
        Rule | None,
        typer.Option(help="block: cap false alarms; merge: cap misses. By default block."),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="The loss that matters, by default 0.01.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Of the error that is capped, by default 0.05.")
    ] = None,
    on: Annotated[
        Unit | None, typer.Option(help="By default accuracy where every source has it, else skill.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A metabench.toml, whose [gate] table holds too.")
    ] = None,
    format: FORMAT = Format.TEXT,
    junit: JUNIT = None,
    github: GITHUB = False,
) -> None:
    """Is a learner worse than the baseline? Exit 0 pass, 1 regression, 2 can't decide or broken."""
    with never_one(github):
        verdict = _judge(
            candidate,
            baseline,
            learner,
            suite or [],
            config,
            {
                "rule": rule and rule.value,
                "margin": margin,
                "alpha": alpha,
                "on": on and on.value,
                "against": against,
            },
        )
        show(verdict, format, junit, github)
    raise typer.Exit(verdict.exit_code)


def _judge(
    candidate: Path,
    baseline: Path | None,
    learner: str | None,
    suites: list[str],
    config: Path | None,
    asked: dict[str, object],
) -> Verdict:
    from metabench.gate import gate as judge
    from metabench.gate.spec import given, load_config
    from metabench.store import load_records

    spec = given(None if config is None else load_config(config), asked)
    if baseline is None and config is not None and spec.baseline is not None:
        baseline = config.parent / spec.baseline
    other = None if baseline is None else load_records(baseline)
    return judge(load_records(candidate), other, spec, learner, suites)


@contextmanager
def never_one(github: bool) -> Iterator[None]:
    """What ends a command without a verdict exits with 2 or 130; 1 is kept for a regression."""
    from metabench.errors import MetabenchError, one_line

    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        typer.echo("interrupted: finished cells are kept", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if github:
            from metabench.gate.writing import command

            typer.echo(command("error", "metabench", one_line(error)))
        if isinstance(error, MetabenchError):
            raise
        import traceback

        traceback.print_exc()
        raise typer.Exit(2) from None


def show(verdict: Verdict, format: Format, junit: Path | None, github: bool) -> None:
    """Print a verdict and write what was asked for."""
    import os

    from metabench.gate import writing
    from metabench.store import write_file

    if format is Format.TEXT:
        writing.to_terminal(verdict, console())
    else:
        write = writing.to_markdown if format is Format.MARKDOWN else writing.to_json
        typer.echo(write(verdict), nl=False)
    if junit is not None:
        write_file(junit, writing.to_junit(verdict))
    if github:
        for line in writing.workflow_commands(verdict):
            typer.echo(line)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            append(Path(summary), writing.to_markdown(verdict))


def append(path: Path, text: str) -> None:
    """Add to a file that another program owns; MetabenchError if it cannot be."""
    from metabench.errors import MetabenchError

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MetabenchError(f"cannot write {path}: {error.strerror}") from None


def console() -> Any:
    """As wide as the terminal; a log has no width of its own."""
    from rich.console import Console

    made = Console()
    return made if made.is_terminal else Console(width=160)
