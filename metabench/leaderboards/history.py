"""Past builds of a leaderboard, and who moved since, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metabench.errors import MetabenchError
from metabench.statistics import number
from metabench.store import write_file

FOLDER, LATEST = "history", "board.json"
CAUSES = {
    "version": "version",
    "seeds": "seeds",
    "provenance": "provenance",
    "metabench": "metabench",
    "commits": "commit",
    "devices": "device",
    "date": "records of",
}
"""Fields of an entry whose change explains that its numbers changed."""


def keep(folder: Path | str, text: str) -> Path | None:
    """Put the tables' JSON aside before ``text`` replaces it; None if it is new or the same."""
    path = Path(folder) / LATEST
    if not path.exists() or (before := path.read_text(encoding="utf-8")) == text:
        return None
    past = builds(folder)
    target = Path(folder) / FOLDER / f"{len(past) + 1:04d}.json"
    write_file(target, before.encode())
    return target


def builds(folder: Path | str) -> list[Path]:
    """Past builds, the oldest first."""
    return sorted((Path(folder) / FOLDER).glob("[0-9]*.json"))


def moves(folder: Path | str, since: Path | None = None) -> list[str]:
    """One line an entrant that came, went or moved between a past build and the present one.

    ``since`` is by default the last build. Raises MetabenchError where there is none to compare
    with, or a file is not a build.
    """
    past = builds(folder)
    if since is None and not past:
        raise MetabenchError(f"{folder}: no past build to compare with")
    (was, before), (now, after) = (_read(p) for p in (since or past[-1], Path(folder) / LATEST))
    release = [] if was == now else [f"episodes of {was} -> {now}"]
    came, went = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    lines = [f"{label}: new, {_place(after[label])}" for label in came]
    lines += [f"{label}: gone, was {_place(before[label])}" for label in went]
    pool = ", ".join([*(f"{label} came" for label in came), *(f"{label} went" for label in went)])
    for label in sorted(set(before) & set(after)):
        old, new = before[label], after[label]
        changed = [
            f"{name} {old.get(key)} -> {new.get(key)}"
            for key, name in CAUSES.items()
            if old.get(key) != new.get(key)
        ]
        changed += release
        moved = [
            f"{what} {earlier} -> {later}"
            for what, earlier, later in (
                ("rank", _place(old), _place(new)),
                ("IQM", _iqm(old), _iqm(new)),
                ("flags", _text(old["flags"]), _text(new["flags"])),
                ("public − private", _gap(old), _gap(new)),
            )
            if earlier != later
        ]
        if moved:
            reason = "; ".join(changed) or (f"the pool: {pool}" if pool else "others' results")
            lines.append(f"{label}: {'; '.join(moved)} ({reason})")
    return lines


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Whose episodes ranks come from, and the entries by label."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        private = content["board"]["private"] if content.get("salt") else None
        entries = {entry["label"]: entry for entry in content["entries"]}
        return f"release {private['release']}" if private else "the public", entries
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MetabenchError(f"{path}: not a leaderboard's board.json") from None


def _place(entry: dict[str, Any]) -> str:
    place = entry["place"]
    if place is None:
        return f"unranked: {entry['unranked']}"
    low, high = place["low"], place["high"]
    return str(low) if low == high else f"{low}-{high}"


def _iqm(entry: dict[str, Any]) -> str:
    return "none" if entry["iqm"] is None else number(entry["iqm"]["mean"])


def _gap(entry: dict[str, Any]) -> str:
    gap = entry.get("gap")
    if gap is None:
        return "none"
    return number(gap["interval"]["mean"]) + (" flagged" if gap["flagged"] else "")


def _text(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
