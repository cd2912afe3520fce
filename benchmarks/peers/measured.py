"""What a measurement leaves behind: a JSON file a device, and a line of text a row."""

from __future__ import annotations

import os
from pathlib import Path

from device import Use
from overhead import Memory, Share
from pydantic import BaseModel, ConfigDict
from timing import Load, Row

from metabench.records import Environment
from metabench.store import write_atomic

RESULTS = Path(__file__).parent / "results"


class Conditions(BaseModel):
    """Under which a workload was measured."""

    model_config = ConfigDict(extra="forbid")

    date: str
    command: str
    environment: Environment
    peers: dict[str, str | None]
    threads: tuple[int, ...]
    tuned_allocator: bool
    load: Load


class Measured(BaseModel):
    """One workload's lines."""

    model_config = ConfigDict(extra="forbid")

    conditions: Conditions
    rows: list[Row] = []
    shares: list[Share] = []
    memory: list[Memory] = []
    uses: list[Use] = []


class Results(BaseModel):
    """A file of results: workload, "overhead" or "sweep" -> what was measured last."""

    model_config = ConfigDict(extra="forbid")

    measured: dict[str, Measured] = {}

    @classmethod
    def read(cls, path: Path) -> Results:
        """The file, or nothing measured yet."""
        if not path.exists():
            return cls()
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    def write(self, path: Path) -> None:
        """Atomically."""
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, (self.model_dump_json(indent=2) + os.linesep).encode())


def line(row: Row) -> str:
    """A row as printed."""
    if row.peer_rate is None or row.ratio is None or row.quartiles is None:
        return f"{row.work} | {row.peer}: not installed | {row.ours} {row.our_rate:.4g} {row.unit}"
    low, high = row.quartiles
    same = "" if row.same else "  DIFFERENT"
    difference = "" if row.difference is None else f" {row.difference:.0e}"
    return (
        f"{row.work} | {row.peer} {row.peer_rate:.4g} | {row.ours} {row.our_rate:.4g} {row.unit} "
        f"| x{row.ratio:.2f} [{low:.2f}, {high:.2f}] | {row.agreement}{difference}{same}"
    )
