"""New submissions from templates, which are folders beside this file."""

from __future__ import annotations

import re
from pathlib import Path

from metabench.errors import MetabenchError
from metabench.store import write_file

TEMPLATES = Path(__file__).parent / "templates"
PLACEHOLDER = "my-learner"


def begin(folder: Path, template: str) -> list[Path]:
    """Fill a new or empty folder; the learner gets the folder's name. The paths written.

    Raises MetabenchError where the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MetabenchError(f"{folder}: is there already and not empty; choose a new folder")
    own = re.sub(r"[^a-z0-9+.-]+", "-", folder.resolve().name.lower()).strip("-.+")[:64]
    written = []
    # An installer may have compiled the templates' code beside it.
    for source in sorted(path for path in (TEMPLATES / template).iterdir() if path.is_file()):
        text = source.read_text(encoding="utf-8").replace(PLACEHOLDER, own or PLACEHOLDER)
        write_file(folder / source.name, text.encode())
        written.append(folder / source.name)
    return written
