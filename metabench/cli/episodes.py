"""metabench episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="episodes", help="Episodes for other programs.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    pass


@app.command()
def export(
    suite: Annotated[str, typer.Option(help="A suite: name or path.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    preset: Annotated[str, typer.Option(help="How much: smoke, standard or full.")] = "smoke",
    seeds: Annotated[
        int | None, typer.Option(help="Meta-seeds; by default the preset's number.")
    ] = None,
    salt: Annotated[
        Path | None, typer.Option(help="File of a secret that the episodes are drawn with.")
    ] = None,
) -> None:
    """Support and query as Parquet, without the labels of queries; see metabench score."""
    from metabench.salt import read_salt
    from metabench.submission.exporting import export_episodes
    from metabench.suite import load_suite

    secret = None if salt is None else read_salt(salt)
    for path in export_episodes(load_suite(suite), preset, seeds, secret, out):
        typer.echo(str(path))
    if salt is None:
        typer.echo("public episodes: whoever has the suite can draw their labels; see --salt")
