"""metabench compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metabench.boards.comparing import PanelComparison


def compare(
    a: Annotated[str, typer.Argument(help="A learner as the board names it, or a run folder.")],
    b: Annotated[str, typer.Argument(help="Another learner, or another run folder.")],
    run: Annotated[
        list[Path] | None, typer.Option(help="Where the learners are; may be repeated.")
    ] = None,
) -> None:
    """Which of two learners is better, where, and could these seeds have told?

    With --run, A and B are learners. Without, they are run folders, and what both hold is compared.
    """
    from metabench.boards.comparing import between_runs, comparisons, panels_of

    if run:
        found = list(comparisons(panels_of(*run), a, b))
    else:
        found = list(between_runs(panels_of(Path(a)), panels_of(Path(b))))
    typer.echo("\n\n".join(_text(one) for one in found))


def _text(one: PanelComparison) -> str:
    panel = one.panel
    lines = [
        f"## {panel.suite} / {panel.source} ({panel.preset} preset)",
        "",
        one.words(),
        "",
        f"| condition | {one.unit} gained | 95 % | p | adjusted | {one.a} is |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for cell in one.cells:
        d = cell.comparison.difference
        span = "one seed" if d.low is None else f"{d.low:+.3f} to {d.high:+.3f}"
        numbers = ("—" if p is None else f"{p:.3g}" for p in (cell.comparison.p, cell.adjusted))
        lines.append(
            f"| {one.where(cell)} | {d.mean:+.3f} | {span} | {' | '.join(numbers)} "
            f"| {cell.verdict} |"
        )
    return "\n".join(lines)
