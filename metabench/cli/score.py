"""metabench score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.run import finish

if TYPE_CHECKING:
    from metabench.running.local import Watcher
    from metabench.store import Results


def score(
    predictions: Annotated[Path, typer.Argument(help="Parquet, one row a query.")],
    episodes: Annotated[Path, typer.Option(help="The folder of metabench episodes export.")],
    name: Annotated[str, typer.Option(help="Of whoever predicted.")],
    family: Annotated[str, typer.Option(help="metric, gradient, memory, transfer or other.")],
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/predictions"),
    version: Annotated[str, typer.Option(help="Of the learner.")] = "1",
    track: Annotated[
        str, typer.Option(help="inductive; transductive: queries were predicted together.")
    ] = "inductive",
    citation: Annotated[str, typer.Option(help="Where the learner is described.")] = "",
    suite: Annotated[
        str | None, typer.Option(help="Path of the suite, if it is not a shipped one.")
    ] = None,
    salt: Annotated[
        Path | None, typer.Option(help="File of the secret that the episodes were drawn with.")
    ] = None,
) -> None:
    """Score predictions made elsewhere, beside the suite's baselines; claimed records."""
    from pydantic import ValidationError

    from metabench import api
    from metabench.errors import MetabenchError
    from metabench.salt import read_salt
    from metabench.store import Store
    from metabench.submission.predictions import About, read_exported, score_predictions
    from metabench.suite import load_suite
    from metabench.validation import first_problem

    given = {"name": name, "family": family, "version": version, "track": track}
    try:
        about = About.model_validate({**given, "citation": citation})
    except ValidationError as error:
        raise MetabenchError(f"--{first_problem(error, About)}") from None
    exported = read_exported(episodes)
    loaded = load_suite(suite or exported.suite)
    secret = None if salt is None else read_salt(salt)
    store = Store(out)
    store.open()
    records = score_predictions(predictions, exported, loaded, secret, about, store)
    baselines = [
        *loaded.baselines,
        *(n for s in loaded.sources_of(exported.preset) for n in s.baselines),
    ]

    def beside(watcher: Watcher) -> Results:
        results = api.run(
            baselines[0],
            loaded,
            preset=exported.preset,
            seeds=exported.seeds,
            out=out,
            device="cpu",
            salt=salt,
            watcher=watcher,
        )
        return store.results([*results.records, *records])

    finish(out, beside)
    typer.echo("predictions only: nothing is known of how they were made")
