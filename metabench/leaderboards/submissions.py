"""Submissions to a release whose secret is not revealed: what their authors are told.

Every author has a Ladder. Records and the scores behind what was told stay in the private store;
the board's folder gets one line a submission, which says no more than the author heard.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from metabench.boards.text import field, plain
from metabench.errors import MetabenchError, unknown
from metabench.leaderboards.episodes import episode_scores
from metabench.leaderboards.spec import BoardSpec, load_spec
from metabench.records import ORACLE, Record
from metabench.salt import commitment, read_salt
from metabench.statistics.ladder import Ladder
from metabench.store import Results, Store, load_records, write_atomic, write_file

LOG = "history/submissions.csv"
MOVED, OLD = "moved", "heard the old score"


@dataclass(frozen=True)
class Heard:
    """What one submission was told: a line of the board's log."""

    number: int
    date: str
    author: str
    learner: str
    outcome: str
    """``MOVED`` or ``OLD``."""
    score: float
    """The author's public score since."""


def default_salt(folder: Path | str) -> Path:
    """Beside the board's folder, not in it."""
    return Path(folder).resolve().with_name(Path(folder).resolve().name + ".salt")


def private_store(folder: Path | str, spec: BoardSpec) -> Path:
    """Of the release, beside the board's folder."""
    beside = Path(folder).resolve()
    return beside.with_name(f"{beside.name}.private") / spec.private.commitment[:16]


def told(folder: Path | str) -> list[Heard]:
    """What every submission of the release was told, in order."""
    path = Path(folder) / LOG
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Heard(int(number), date, author, learner, outcome, float(score))
                for number, date, author, learner, outcome, score in list(csv.reader(file))[1:]
            ]
    except (OSError, ValueError):
        raise MetabenchError(f"{path}: not a log of submissions") from None


def secret_of(folder: Path | str, spec: BoardSpec, salt: Path | None = None) -> bytes:
    """The secret that a board is committed to."""
    path = salt or default_salt(folder)
    if not spec.private.commitment:
        raise MetabenchError(f"board {spec.name}: no commitment yet (metabench board salt)")
    secret = read_salt(path)
    if commitment(secret) != spec.private.commitment:
        raise MetabenchError(f"{path}: not the secret that board {spec.name} is committed to")
    return secret


def submit(
    folder: Path | str,
    run: Path | str,
    author: str,
    learner: str | None = None,
    salt: Path | None = None,
) -> Heard:
    """Score a learner's private episodes, keep its records, and say what its author is told.

    ``run`` is a folder of ``metabench run --salt``. Raises MetabenchError where the release is not
    open or a cell is missing or failed; then nothing was submitted.
    """
    spec = load_spec(folder)
    secret = secret_of(folder, spec, salt)
    if spec.private.secret is not None:
        raise MetabenchError(f"board {spec.name}: the secret is revealed; submissions are over")
    if not plain(author):
        raise MetabenchError("author: must not be empty")
    results = _private(spec, load_records(run))
    name = _entrant(results.records, learner)
    table = episode_scores(spec, secret, results, name)
    store = private_store(folder, spec)
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MetabenchError(f"cannot write {store}: {error.strerror}") from None
    with Store(store).lock():
        return _submitted(Path(folder), store, Store(run), results.records, table, author, name)


def _private(spec: BoardSpec, results: Results) -> Results:
    """The records of the release's private episodes."""
    wanted = spec.private.commitment
    kept = [
        r
        for r in results.records
        if (r.key.salt, r.key.preset) == (wanted, spec.preset) and r.key.suite in spec.suites
    ]
    if not kept:
        raise MetabenchError(
            f"board {spec.name}: the run has no {spec.preset} records of its private episodes "
            "(metabench run --salt)"
        )
    return Results(kept, results.episodes[results.episodes["record"].isin([r.id for r in kept])])


def _entrant(records: list[Record], learner: str | None) -> str:
    names = sorted({r.key.learner for r in records if r.learner.family not in ("baseline", ORACLE)})
    if learner is None and len(names) == 1:
        return names[0]
    if learner not in names:
        raise MetabenchError(f"--learner: {unknown('learner', learner or '', names)}")
    return learner


def _submitted(
    folder: Path,
    store: Path,
    run: Store,
    records: list[Record],
    table: pd.DataFrame,
    author: str,
    learner: str,
) -> Heard:
    author = field(author)
    state_file = store / "ladder.json"
    state = json.loads(state_file.read_text(encoding="utf-8")) if state_file.exists() else {}
    names = table.drop(columns="score").to_csv(index=False).encode()
    episodes = hashlib.sha256(names).hexdigest()
    before = state.get(author)
    if before is not None and before["episodes"] != episodes:
        raise MetabenchError(
            f"author {author}: not the episodes of the first submission: suites, seeds and number "
            "of episodes must be the same"
        )
    ladder = Ladder()
    if before is not None:
        best = np.load(store / before["best"] / "scores.npy", allow_pickle=False)
        ladder = Ladder(before["public"], best, before["submissions"])
    scores = table["score"].to_numpy(np.float64)
    after = ladder.submit(scores)
    assert after.public is not None
    moved = after.best is scores
    log = told(folder)
    number = 1 + sum(one["submissions"] for one in state.values())
    kept = store / f"{number:04d}"
    _copy(records, run, Store(kept))
    buffer = io.BytesIO()
    np.save(buffer, scores, allow_pickle=False)
    write_atomic(kept / "scores.npy", buffer.getvalue())
    state[author] = {
        "public": after.public,
        "submissions": after.submissions,
        "best": kept.name if moved else before["best"] if before else "",
        "learner": learner if moved else before["learner"] if before else "",
        "episodes": episodes,
    }
    write_atomic(state_file, (json.dumps(state, indent=1) + "\n").encode())
    date = datetime.now(UTC).date().isoformat()
    outcome = MOVED if moved else OLD
    heard = Heard(number, date, author, field(learner), outcome, after.public)
    write_log(folder, [*log, heard])
    return heard


def _copy(records: list[Record], source: Store, target: Store) -> list[Path]:
    """Records that the target has not yet, with their episodes; the new files."""
    target.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = []
    for record in records:
        if target.has(record.id):
            continue
        for suffix in (".parquet", ".json"):
            path = source.records / f"{record.id}{suffix}"
            if path.exists():
                write_atomic(target.records / path.name, path.read_bytes())
        new.append(target.records / f"{record.id}.json")
    return new


def write_log(folder: Path, log: list[Heard]) -> None:
    """The board's log of submissions."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(Heard)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in log)
    write_file(folder / LOG, out.getvalue().encode())


def publish(folder: Path | str, spec: BoardSpec) -> list[Path]:
    """Put the records behind every public score among the board's; the new files."""
    store = private_store(folder, spec)
    state_file = store / "ladder.json"
    if not state_file.exists():
        return []
    new = []
    for one in json.loads(state_file.read_text(encoding="utf-8")).values():
        kept = Store(store / one["best"])
        records = [
            r
            for r in kept.load().records
            if r.learner.family in ("baseline", ORACLE) or r.key.learner == one["learner"]
        ]
        new += _copy(records, kept, Store(folder))
    return new
