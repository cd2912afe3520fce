"""metabench run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.errors import MetabenchError

if TYPE_CHECKING:
    from metabench.running.local import Watcher
    from metabench.store import Results


def run(
    learner: Annotated[
        list[str],
        typer.Option(
            help="Learners: names, module:Class or file.py:Class; comma-separated or repeated."
        ),
    ],
    suite: Annotated[
        list[str], typer.Option(help="Suites: names or paths; comma-separated or repeated.")
    ],
    preset: Annotated[str, typer.Option(help="How much to run: smoke, standard or full.")] = (
        "smoke"
    ),
    seeds: Annotated[
        int | None, typer.Option(help="Meta-seeds; by default the preset's number.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/default"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(help="Cells side by side; by default one a core, one on a GPU."),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder with data sets as Parquet; else METABENCH_DATA, else the hub."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A hyper-parameter: LEARNER.NAME=VALUE; repeatable."),
    ] = None,
    salt: Annotated[
        Path | None,
        typer.Option(help="File of a secret that test episodes are drawn with; see board salt."),
    ] = None,
    retry: Annotated[bool, typer.Option(help="Run cells again that failed.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between the checkpoints of a training.")
    ] = 15.0,
) -> None:
    """Meta-train and score learners beside the suite's baselines; print the board."""
    from metabench import api

    finish(
        out,
        lambda watcher: api.run(
            split(learner),
            split(suite),
            preset=preset,
            seeds=seeds,
            out=out,
            device=device,
            workers=workers,
            data_root=data_root,
            parameters=parse_settings(set_ or []),
            retry=retry,
            salt=salt,
            checkpoint_seconds=checkpoint_seconds,
            watcher=watcher,
        ),
    )


def finish(out: Path, work: Callable[[Watcher], Results]) -> None:
    """Run with progress, print the board, write the report; exit code 2 if a cell failed."""
    from metabench import api
    from metabench.boards import to_terminal
    from metabench.boards.text import plain
    from metabench.cli.progress import progress

    try:
        with progress() as (console, watcher):
            results = work(watcher)
        to_terminal(api.board(results), console)
        page = api.report(results, out / "report.html")
        console.print(f"records  {out / 'records'}", soft_wrap=True)
        console.print(f"report   {page.resolve()}", soft_wrap=True)
    except KeyboardInterrupt:
        message = "interrupted: finished cells are kept; the same command goes on from here"
        typer.echo(message, err=True)
        raise typer.Exit(130) from None
    for record in results.failures:
        name = f"{record.key.learner} · {record.key.suite}/{record.key.source}"
        problem = f"seed {record.key.seed}: {record.status}: {record.error}"
        typer.echo(plain(f"error: {name} · {problem}"), err=True)
    if results.failures:
        raise typer.Exit(2)


def split(values: list[str]) -> list[str]:
    """Comma-separated or repeated names, one by one."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def parse_settings(settings: list[str]) -> dict[str, dict[str, bool | int | float | str | None]]:
    """["maml.inner_lr=0.1"] -> {"maml": {"inner_lr": 0.1}}; values are TOML."""
    import tomllib

    parsed: dict[str, dict[str, bool | int | float | str | None]] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        learner, dot, name = path.strip().rpartition(".")
        if not (equals and dot and learner and name):
            raise MetabenchError(f"--set {setting!r}: expected LEARNER.NAME=VALUE")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        if not isinstance(value, bool | int | float | str):
            raise MetabenchError(f"--set {setting!r}: the value must be a number, word or boolean")
        parsed.setdefault(learner, {})[name] = value
    return parsed
