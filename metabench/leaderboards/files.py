"""A leaderboard's folder: board.toml and records/ in, tables out."""

from __future__ import annotations

import difflib
from pathlib import Path

from metabench.leaderboards.history import LATEST, keep
from metabench.leaderboards.latex import to_latex
from metabench.leaderboards.spec import load_spec
from metabench.leaderboards.standing import Leaderboard, selected, standing
from metabench.leaderboards.submissions import told
from metabench.leaderboards.writing import PAGE, to_csv, to_json, to_markdown
from metabench.store import Store, write_file


def rebuilt(folder: Path | str) -> tuple[Leaderboard, dict[str, str]]:
    """The leaderboard of a folder and the text of each of its tables."""
    made = standing(load_spec(folder), Store(folder).load())
    return made, {
        "README.md": to_markdown(made, told(folder)),
        "board.csv": to_csv(made),
        "board.tex": to_latex(made),
        LATEST: to_json(made),
    }


def build(folder: Path | str) -> list[Path]:
    """Write the tables and the page, and keep the build before; the paths.

    The page is not compared later on: fonts draw its figures.
    """
    from metabench.reports import write_report

    made, texts = rebuilt(folder)
    past = keep(folder, texts[LATEST])
    paths = [] if past is None else [past]
    for name, text in texts.items():
        path = Path(folder) / name
        write_file(path, text.encode())
        paths.append(path)
    page = Path(folder) / PAGE
    write_report(selected(made.spec, Store(folder).load()), page, scores=made.scores)
    return [*paths, page]


def verify(folder: Path | str) -> list[str]:
    """What differs between the tables of a folder and those its records give; nothing if none.

    One entry a file, a unified diff of the first lines that drifted.
    """
    _, texts = rebuilt(folder)
    drifted = []
    for name, text in texts.items():
        path = Path(folder) / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found != text:
            lines = difflib.unified_diff(
                found.splitlines(), text.splitlines(), str(path), "rebuilt", lineterm="", n=0
            )
            drifted.append("\n".join(list(lines)[:20]))
    return drifted
