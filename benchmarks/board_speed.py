"""How long a board takes over a million episode rows.

The records are those that a run would make, of shipped learners and the suite's baselines, with
made-up scores; what is timed is ``metabench.board`` and reading the same records from the disk.

    python benchmarks/board_speed.py --rows 1000000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from metabench import api
from metabench.running.cell import Settings, identified, new_record
from metabench.running.environment import describe
from metabench.running.plan import Cell, plan
from metabench.store import Store, load_records

LEARNERS = ("maml", "anil", "reptile", "cnp", "anp", "mann", "r2d2")


def rows_of(cell: Cell, episodes: int, rng: np.random.Generator) -> pd.DataFrame:
    """Scores of every point of the cell's source: a learner's own error, which grows with level."""
    error = 0.2 + 0.3 * rng.random()
    frames = [
        pd.DataFrame(
            {
                "condition": point.condition,
                "level": point.level,
                "episode": range(episodes),
                "metric": cell.source.metric,
                "value": (0.05 if cell.learner is None else error * (1 + point.level))
                * rng.chisquare(10, episodes)
                / 10,
                "checkpoint": 2000,
            }
        )
        for point in cell.source.points
    ]
    return identified(pd.concat(frames, ignore_index=True), cell)


def main() -> None:
    """Write the records, then time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cells = plan(LEARNERS, ["ood-functions"], "smoke", options.seeds)
    points = sum(len(cell.source.points) for cell in cells)
    episodes = -(-options.rows // points)
    rng = np.random.default_rng(0)
    settings = Settings(device="cpu", environment=describe(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.open()
        for cell in cells:
            record = new_record(cell, settings, "ok", None)
            store.write(record, rows_of(cell, episodes, rng))
        for _ in range(options.repeats):
            began = time.perf_counter()
            results = load_records(folder)
            read = time.perf_counter()
            made = api.board(results)
            done = time.perf_counter()
            print(
                f"{len(results.episodes):,} rows, {len(cells)} records, {len(made.panels)} panels: "
                f"read {read - began:.2f} s, board {done - read:.2f} s"
            )


if __name__ == "__main__":
    main()
