"""The run folder: atomic writes, so that a kill at any moment leaves no broken file.

<out>/records/<id>.json       the record; its presence means that the cell is finished
<out>/records/<id>.parquet    its episode rows, written before the record
<out>/trainings/<id>/         the checkpoints of a meta-training, which several cells may share
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from metabench.errors import MetabenchError
from metabench.records import EPISODE_COLUMNS, Record
from metabench.validation import first_problem

_TEMPORARY = ".tmp-"


def write_atomic(path: Path, data: bytes) -> None:
    """Write to a temporary name, fsync, rename: a reader sees the old file or the whole new one."""
    name = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    # Not mkstemp, whose files nobody else may read.
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def parquet_bytes(rows: pd.DataFrame) -> bytes:
    """The episode rows as a Parquet file; the same rows give the same bytes."""
    buffer = io.BytesIO()
    rows.loc[:, list(EPISODE_COLUMNS)].to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


@dataclass(frozen=True)
class Results:
    """Records and the concatenated episode table of those with status ``ok``.

    The table has the columns of ``EPISODE_COLUMNS`` and ``record``, the id of each row's record.
    """

    records: list[Record]
    episodes: pd.DataFrame

    @property
    def failures(self) -> list[Record]:
        """Records whose cell did not finish well; a setting of a design may diverge."""
        return [r for r in self.records if not r.measured]


class Store:
    """One run folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.records = self.root / "records"
        self.trainings = self.root / "trainings"

    def open(self) -> None:
        """Create the folders and remove leftovers; raises MetabenchError if it is not writable."""
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            self.trainings.mkdir(parents=True, exist_ok=True)
            for leftover in self.root.rglob(f"{_TEMPORARY}*"):
                leftover.unlink(missing_ok=True)
            with tempfile.NamedTemporaryFile(prefix=_TEMPORARY, dir=self.records):
                pass
        except OSError as error:
            raise MetabenchError(
                f"cannot write to the run folder {self.root}: {error.strerror}"
            ) from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder: a second run on it is an error, not a race."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.root / ".lock", timeout=0):
                yield
        except Timeout:
            raise MetabenchError(f"another run is writing to {self.root}") from None

    def has(self, record_id: str) -> bool:
        """Whether the cell of that id is finished."""
        return (self.records / f"{record_id}.json").exists()

    def write(self, record: Record, rows: pd.DataFrame | None) -> Record:
        """Store a record and its rows (None for a cell without results); returns it completed."""
        if rows is not None:
            data = parquet_bytes(rows)
            write_atomic(self.records / f"{record.id}.parquet", data)
            record = record.model_copy(
                update={"rows": len(rows), "rows_sha256": hashlib.sha256(data).hexdigest()}
            )
        text = record.model_dump_json(indent=2) + "\n"
        write_atomic(self.records / f"{record.id}.json", text.encode())
        return record

    def discard(self, record_id: str) -> None:
        """Forget a record, so that its cell runs again."""
        for suffix in (".json", ".parquet"):
            (self.records / f"{record_id}{suffix}").unlink(missing_ok=True)

    def read(self, record_id: str) -> Record:
        """One record; raises MetabenchError naming the file and the field that is wrong."""
        return read_record(self.records / f"{record_id}.json")

    def read_rows(self, record: Record) -> pd.DataFrame:
        """The episode rows of a record, checked against its hash."""
        path = self.records / f"{record.id}.parquet"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MetabenchError(f"{path}: cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != record.rows_sha256:
            raise MetabenchError(f"{path}: the episode rows do not match their record's hash")
        try:
            return pd.read_parquet(io.BytesIO(data))
        except (OSError, ValueError) as error:
            raise MetabenchError(f"{path}: not a valid Parquet file: {error}") from None

    def results(self, records: Iterable[Record]) -> Results:
        """These records with their episode table, which gains a column ``record`` (the id)."""
        kept = list(records)
        tables = [self.read_rows(r).assign(record=r.id) for r in kept if r.status == "ok"]
        return Results(kept, _table(tables))

    def load(self) -> Results:
        """Every record of the folder."""
        if not self.records.is_dir():
            raise MetabenchError(f"{self.root}: not a run folder (it has no 'records')")
        records = [read_record(path) for path in sorted(self.records.glob("*.json"))]
        if not records:
            raise MetabenchError(f"{self.root}: no records yet")
        return self.results(records)


def _table(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=[*EPISODE_COLUMNS, "record"])
    return pd.concat(tables, ignore_index=True)


def read_record(path: Path) -> Record:
    """Read and validate one record file."""
    try:
        record = Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = first_problem(error, Record)
        raise MetabenchError(f"{path}: not a valid record: {problem}") from None
    if record.id != record.key.id or path.stem != record.id:
        raise MetabenchError(f"{path}: id {record.id!r} does not match the cell it describes")
    return record


def load_records(*folders: Path | str) -> Results:
    """The results of one or more run folders; a cell present in several is kept once."""
    records: dict[str, Record] = {}
    tables = []
    for folder in folders:
        part = Store(folder).load()
        known = [record.id for record in part.records if record.id in records]
        new = part.episodes[~part.episodes["record"].isin(known)] if known else part.episodes
        tables.append(new)
        records |= {record.id: record for record in part.records if record.id not in records}
    return Results(list(records.values()), _table([t for t in tables if len(t)]))


def write_file(path: Path, data: bytes) -> None:
    """Write one file of the user's choosing, atomically; MetabenchError if it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise MetabenchError(f"cannot write {path}: {error.strerror}") from None
