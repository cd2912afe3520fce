"""Running a finished cell again, to see whether its episodes are what its record says."""

from __future__ import annotations

import tempfile

import numpy as np
import torch

from metabench.errors import MetabenchError
from metabench.records import EPISODE_COLUMNS, ORACLE, Record
from metabench.running.cell import Settings, one_thread, run_cell
from metabench.running.environment import describe
from metabench.running.plan import plan
from metabench.store import Results, Store
from metabench.suite import load_suite

KEYS = [name for name in EPISODE_COLUMNS if name != "value"]


def replayable(record: Record) -> bool:
    """Whether anybody can: baselines and the oracle are shipped, and learn nothing beforehand."""
    return record.status == "ok" and record.learner.family in ("baseline", ORACLE)


def replay(results: Results, record: Record, secret: bytes | None) -> str | None:
    """What is not as recorded when a baseline's cell runs again; None if every bit is."""
    key = record.key
    name = record.protocol.baselines[0] if key.learner == ORACLE else key.learner
    here = range(key.seed, key.seed + 1)
    cells = plan([name], [load_suite(key.suite)], key.preset, here, None, key.salt)
    cell = next((c for c in cells if c.id == record.id), None)
    where = f"{record.id} ({key.learner} on {key.suite}/{key.source}, seed {key.seed})"
    if cell is None:
        return f"{where}: this version has another suite, data or learner"
    cpu = torch.device("cpu")
    settings = Settings(device="cpu", environment=describe(cpu), salt=secret)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        store = Store(folder)
        store.open()
        again = run_cell(cell, store, settings, lambda event: None)
        if again.status != "ok":
            raise MetabenchError(f"{where}: {again.status}: {again.error}")
        rows = store.read_rows(again)
    before = results.episodes[results.episodes["record"] == record.id]
    if not before[KEYS].reset_index(drop=True).equals(rows[KEYS]):
        return f"{where}: not the same episodes"
    one, other = (t["value"].to_numpy(np.float64) for t in (before, rows))
    if np.array_equal(one, other, equal_nan=True):
        return None
    apart = float(np.nanmax(np.abs(one - other)))
    return f"{where}: {int((one != other).sum())} of {len(one)} values differ, by up to {apart:.3g}"
