"""metabench ci."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.gate import FORMAT, GITHUB, JUNIT, Format, console, never_one, show

if TYPE_CHECKING:
    from metabench.gate import Config, Verdict
    from metabench.guard import Guarded
    from metabench.store import Results

REPORT = "report"


def ci(
    config: Annotated[Path, typer.Option(help="What is asked of which learner.")] = Path(
        "metabench.toml"
    ),
    accept: Annotated[
        bool, typer.Option("--accept", help="A candidate that passes becomes the baseline.")
    ] = False,
    first: Annotated[
        bool, typer.Option("--first", help="The same, where there is no baseline yet.")
    ] = False,
    format: FORMAT = Format.TEXT,
    junit: JUNIT = None,
    github: GITHUB = False,
) -> None:
    """Check, run and gate the learner of a repository, as its metabench.toml says.

    Exit 0 pass, 1 regression, 2 can't decide or broken.
    """
    with never_one(github):
        code = _guard(config, accept, first, format, junit, github)
    raise typer.Exit(code)


def _guard(
    path: Path, accept: bool, first: bool, format: Format, junit: Path | None, github: bool
) -> int:
    from metabench import guard
    from metabench.gate import load_config
    from metabench.gate.fresh import accept as take
    from metabench.gate.fresh import prune

    config = load_config(path)
    root = path.resolve().parent
    runs = root / config.runs
    one = guard.guarded(config.learner, config.suites, runs, root)
    if config.check and not _contract(one, quiet=format is not Format.TEXT):
        return 2
    baseline = None if config.gate.baseline is None else root / config.gate.baseline
    if baseline is None or (baseline / "records").is_dir():
        first = False
    results = _run(one, config, root, baseline, quiet=format is not Format.TEXT)
    verdict = _judge(results, config, one.name, baseline, accept or first)
    show(verdict, format, junit, github)
    _write(verdict, results, runs / REPORT)
    if (accept or first) and baseline is not None and verdict.status == "pass":
        take(results.records, one.folder, baseline)
        typer.echo(f"baseline  {baseline}", err=True)
    prune(runs, one.folder)
    return verdict.exit_code


def _contract(one: Guarded, quiet: bool) -> bool:
    """Whether the learner keeps the contract; what it breaks is said."""
    from metabench import api

    report = api.check(one.reference)
    lines = report.lines()
    for line in lines if not report.passed else lines[-1:]:
        typer.echo(line, err=quiet or not report.passed)
    return report.passed


def _run(one: Guarded, config: Config, root: Path, baseline: Path | None, quiet: bool) -> Results:
    from contextlib import nullcontext

    from metabench import guard
    from metabench.cli.progress import progress
    from metabench.running.local import Watcher

    runs = root / config.runs
    earlier = [p for p in sorted(runs.glob("*")) if p.is_dir() and p != one.folder]
    if baseline is not None:
        earlier.append(baseline)
    with nullcontext((console(), Watcher())) if quiet else progress() as (_, watcher):
        return guard.run(
            one,
            config.preset,
            config.seeds,
            config.parameters,
            earlier=earlier,
            data_root=None if config.data_root is None else root / config.data_root,
            workers=config.workers,
            watcher=watcher,
        )


def _judge(
    results: Results, config: Config, learner: str, baseline: Path | None, accept: bool
) -> Verdict:
    from metabench.errors import MetabenchError
    from metabench.gate import gate
    from metabench.store import load_records

    other = None
    if baseline is not None and (baseline / "records").is_dir():
        other = load_records(baseline)
    elif baseline is not None and not accept:
        raise MetabenchError(
            f"no baseline in {baseline}: 'metabench ci --first' makes one of a learner that is "
            "known to be good"
        )
    return gate(results, other, config.gate, learner)


def _write(verdict: Verdict, results: Results, folder: Path) -> None:
    """The verdict in every form, and the page of all results."""
    from metabench import api
    from metabench.gate import writing
    from metabench.store import write_file

    write_file(folder / "verdict.md", writing.to_markdown(verdict).encode())
    write_file(folder / "verdict.json", writing.to_json(verdict).encode())
    write_file(folder / "junit.xml", writing.to_junit(verdict))
    api.report(results, folder / "report.html")
