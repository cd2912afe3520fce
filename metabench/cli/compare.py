"""metabench compare."""

from __future__ import annotations

from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from metabench.reports.chapters import Chapter


class Format(StrEnum):
    """What a comparison can be written as."""

    TABLE = "table"
    MARKDOWN = "markdown"
    HTML = "html"
    LATEX = "latex"


def compare(
    a: Annotated[str, typer.Argument(help="A learner as the board names it, or a run folder.")],
    b: Annotated[str, typer.Argument(help="Another learner, or another run folder.")],
    run: Annotated[
        list[Path] | None, typer.Option(help="Where the learners are; may be repeated.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="Write to a file instead.")] = None,
) -> None:
    """Which of two learners is better, where, and could these seeds have told?

    With --run, A and B are learners. Without, they are run folders, and what both hold is compared.
    """
    from rich.console import Console

    from metabench.boards.comparing import between_runs, comparisons, panels_of
    from metabench.reports.chapters import as_latex, as_markdown
    from metabench.reports.comparison import comparison_chapters, comparison_page
    from metabench.store import write_file

    if run:
        found = list(comparisons(panels_of(*run), a, b))
    else:
        found = list(between_runs(panels_of(Path(a)), panels_of(Path(b))))
    made = comparison_chapters(found)
    match format:
        case Format.HTML:
            text = comparison_page(found)
        case Format.MARKDOWN:
            text = as_markdown("Which is better, where?", made)
        case Format.LATEX:
            text = as_latex("Which is better, where?", made)
        case Format.TABLE:
            console = Console() if out is None else Console(record=True, file=StringIO(), width=120)
            _print(made, console)
            if out is None:
                return
            text = console.export_text()
    if out is None:
        typer.echo(text)
    else:
        write_file(out, text.encode())
        typer.echo(str(out))


def _print(made: list[Chapter], console: Console) -> None:
    """In a terminal: the verdict, then the table."""
    from rich.markup import escape
    from rich.table import Table

    from metabench.boards.text import plain

    for chapter in made:
        console.print(escape(plain(chapter.title)), style="bold")
        for sentence in chapter.sentences:
            console.print(escape(plain(sentence)), highlight=False)
        for sheet in chapter.sheets:
            table = Table(*(escape(plain(title)) for title in sheet.headers))
            for row in sheet.rows:
                table.add_row(*(escape(plain(cell)) for cell in row))
            console.print(table)
            for note in sheet.notes:
                console.print(escape(plain(note)), style="dim", highlight=False)
        console.print()
