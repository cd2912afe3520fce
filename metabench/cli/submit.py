"""metabench submit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.isolation import IsolationOption
from metabench.cli.run import finish, split


def submit(
    folder: Annotated[Path, typer.Argument(help="A submission's folder.")],
    suite: Annotated[
        list[str], typer.Option(help="Suites: names or paths; comma-separated or repeated.")
    ],
    preset: Annotated[str, typer.Option(help="How much to run: smoke, standard or full.")] = (
        "smoke"
    ),
    seeds: Annotated[
        int | None, typer.Option(help="Meta-seeds; by default the preset's number.")
    ] = None,
    salt: Annotated[
        Path | None, typer.Option(help="File of a secret that test episodes are drawn with.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/submission"),
    isolation: IsolationOption = "auto",
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder with data sets as Parquet; else METABENCH_DATA, else the hub."),
    ] = None,
    retry: Annotated[bool, typer.Option(help="Run cells again that failed.")] = False,
) -> None:
    """Score a submission beside the suite's baselines, its code contained; verified records."""
    from metabench import api

    finish(
        out,
        lambda watcher: api.submit(
            folder,
            split(suite),
            preset=preset,
            seeds=seeds,
            salt=salt,
            out=out,
            isolation=isolation,
            data_root=data_root,
            retry=retry,
            watcher=watcher,
        ),
    )
    if salt is None:
        typer.echo(
            "public episodes: whoever has the suite can draw them too; a board that is to resist "
            "gaming scores with --salt"
        )
