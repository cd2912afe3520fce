"""A release of private episodes: committed to, and revealed."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from metabench.errors import MetabenchError
from metabench.leaderboards.spec import FILE, BoardSpec, load_spec
from metabench.leaderboards.submissions import LOG, default_salt, publish, secret_of
from metabench.salt import commitment, new_salt
from metabench.store import write_file
from metabench.validation import first_problem

HEADER = re.compile(r"^\s*\[private\]\s*(#.*)?$")
OURS = ("release", "commitment", "opened", "secret", "revealed")
"""Fields that are written here; the rest of the table is the board's owner's."""


def open_release(folder: Path | str, release: str | None = None, out: Path | None = None) -> Path:
    """Make a secret and commit the board to it; the file of the secret.

    Raises MetabenchError while a release is open, or where the file would lie within the board's
    folder, which is published.
    """
    spec = load_spec(folder)
    if spec.private.commitment and spec.private.secret is None:
        raise MetabenchError(
            f"board {spec.name}: release {spec.private.release!r} is open; reveal it first"
        )
    path = (out or default_salt(folder)).resolve()
    if path.is_relative_to(Path(folder).resolve()):
        raise MetabenchError(f"{path}: lies in the board's folder, which is published")
    today = _today()
    name = release or today
    if not re.fullmatch(r"[\w .-]+", name):
        raise MetabenchError(f"release {name!r}: letters, digits, spaces, dots and dashes only")
    secret = new_salt(path)
    written = {"release": name, "commitment": commitment(secret), "opened": today}
    try:
        _write(folder, written, fresh=True)
    except MetabenchError:
        path.unlink()
        raise
    log = Path(folder) / LOG
    if spec.private.release and log.exists():
        log.rename(log.with_name(f"submissions {spec.private.release}.csv"))
    return path


def reveal(folder: Path | str, salt: Path | None = None) -> list[Path]:
    """Write the secret into board.toml and the records behind public scores into records/."""
    spec = load_spec(folder)
    secret = secret_of(folder, spec, salt)
    if spec.private.secret is not None:
        raise MetabenchError(f"board {spec.name}: the secret is revealed already")
    new = publish(folder, spec)
    _write(folder, {"secret": secret.hex(), "revealed": _today()}, fresh=False)
    return [Path(folder) / FILE, *new]


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _write(folder: Path | str, fields: dict[str, str], fresh: bool) -> None:
    """Put fields into the table [private], of which ``fresh`` keeps what is the owner's."""
    path = Path(folder) / FILE
    lines = path.read_text(encoding="utf-8").splitlines()
    where = next((i for i, line in enumerate(lines) if HEADER.match(line)), None)
    if where is None:
        lines += ["", "[private]"]
        where = len(lines) - 1
    after = lines[where + 1 :]
    end = next((i for i, line in enumerate(after) if line.lstrip().startswith("[")), len(after))
    own, rest = after[:end], after[end:]
    if fresh:
        own = [line for line in own if line.partition("=")[0].strip() not in OURS]
    new = [f'{name} = "{value}"' for name, value in fields.items()]
    last = max((i + 1 for i, x in enumerate(own) if x.partition("=")[0].strip() in OURS), default=0)
    text = "\n".join([*lines[: where + 1], *own[:last], *new, *own[last:], *rest]) + "\n"
    try:
        BoardSpec.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        raise MetabenchError(f"{path}: write 'private' as a table, [private]") from None
    except ValidationError as error:
        raise MetabenchError(f"{path}: {first_problem(error, BoardSpec)}") from None
    write_file(path, text.encode())
