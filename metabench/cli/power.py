"""metabench power."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def power(
    a: Annotated[str, typer.Argument(help="A learner as the board names it.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    run: Annotated[list[Path], typer.Option(help="Where they are; may be repeated.")],
    difference: Annotated[
        float | None, typer.Option(min=0.0, help="In the raw metric; by default the one found.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=2, help="A seed; by default as many as the run had.")
    ] = None,
) -> None:
    """How many seeds does a difference need, and what could this run have seen?"""
    from metabench.boards.comparing import comparisons, panels_of
    from metabench.statistics import detectable, seeds_needed

    for one in comparisons(panels_of(*run), a, b):
        panel, cell = one.panel, one.cells[0]
        typer.echo(f"{panel.suite} / {panel.source} ({panel.preset} preset), in distribution")
        parts, found = cell.components, cell.comparison.difference
        if parts is None:
            typer.echo("  one seed: the spread between seeds is unknown; run two or more")
            continue
        spread = parts.of_seed_mean(episodes)
        wanted = abs(found.mean) if difference is None else difference
        needed = seeds_needed(wanted, spread)
        endless = seeds_needed(wanted, parts.seed)
        seen = detectable(spread, found.seeds)
        lines = [
            f"paired differences: SD {parts.seed:.3g} between seeds, {parts.episode:.3g} between "
            f"episodes of a seed; {spread:.3g} for a seed's mean over "
            f"{episodes or parts.episodes} episodes",
            f"{found.seeds} seeds find a difference of {seen:.3g} with 80 % power at 5 %; "
            f"found {found.text(3)}",
            f"a difference of {wanted:.3g} needs {needed or 'more than 10,000'} seeds",
            f"with endless episodes it would need {endless or 'more than 10,000'}",
        ]
        typer.echo("\n".join(f"  {line}" for line in lines))
        if found.seeds < 5:
            typer.echo("  with fewer than five seeds the spread itself is a rough guess")
