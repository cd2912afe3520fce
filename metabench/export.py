"""Records as tidy tables for other tools: one of cells, one of episodes, and a card."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Literal

import pandas as pd

from metabench.records import EPISODE_COLUMNS, Record
from metabench.store import Results, write_file

Format = Literal["parquet", "csv", "hub"]
"""hub: Parquet with a card; ``datasets.load_dataset`` reads the folder."""

CARD = """---
license: cc-by-4.0
pretty_name: Results of metabench
tags: [meta-learning, few-shot-learning, benchmark, robustness]
configs:
- config_name: cells
  data_files: cells.parquet
- config_name: episodes
  data_files: episodes.parquet
  default: true
---
"""
COLUMNS = {
    "record": "id of the cell's record; joins the two tables",
    "learner, version, parameters": "what was scored; parameters as JSON",
    "suite, fingerprint, preset, source": "what it was scored on; the fingerprint covers what "
    "decides a number",
    "salt": "commitment of the secret that its episodes were drawn with; empty: public",
    "seed": "the meta-seed: the replicate. Episodes are nested in it",
    "status, error": "ok, failed, timeout or diverged, and why",
    "checkpoint": "meta-steps done when the episode was scored",
    "condition, level": "level 0 is in distribution",
    "metric, value": "accuracy, mse, or what a probe reads; one row an episode",
}


def cells_table(records: list[Record]) -> pd.DataFrame:
    """One row a record; nested parts are flat, parameters and data hashes are JSON."""
    rows = []
    for r in sorted(records, key=lambda r: r.id):
        key, info, environment = r.key, r.learner, r.environment
        rows.append(
            {
                "record": r.id,
                "learner": key.learner,
                "version": key.learner_version,
                "parameters": json.dumps(key.parameters, sort_keys=True),
                "family": info.family,
                "transductive": info.transductive,
                "meta_trained": info.meta_trained,
                "suite": key.suite,
                "fingerprint": key.fingerprint,
                "preset": key.preset,
                "source": key.source,
                "salt": key.salt,
                "seed": key.seed,
                "data": json.dumps(key.data, sort_keys=True),
                "protocol": key.protocol,
                "status": r.status,
                "error": r.error or "",
                "provenance": r.provenance,
                "budget_tasks": r.budget.tasks,
                "budget_steps": r.budget.steps,
                "tasks": r.used.tasks,
                "examples": r.used.examples,
                "steps": r.used.steps,
                "training_seconds": r.used.seconds,
                "evaluation_seconds": r.evaluation_seconds,
                "metabench": environment.metabench,
                "python": environment.python,
                "torch": environment.torch,
                "device": environment.device,
                "commit": environment.commit or "",
                "created": r.created,
            }
        )
    return pd.DataFrame(rows)


def export(results: Results, folder: Path | str, form: Format) -> list[Path]:
    """Write cells and episodes and, for the hub, a data card; the paths.

    Raises MetabenchError if the folder cannot be written to.
    """
    out = Path(folder)
    episodes = results.episodes[["record", *EPISODE_COLUMNS]]
    tables = {"cells": cells_table(results.records), "episodes": episodes}
    paths = []
    for name, table in tables.items():
        path = out / f"{name}.{'csv' if form == 'csv' else 'parquet'}"
        write_file(path, _bytes(table, form))
        paths.append(path)
    if form == "hub":
        write_file(out / "README.md", card(results).encode())
        paths.append(out / "README.md")
    return paths


def card(results: Results) -> str:
    """The data card: what the tables hold, and how not to misread them."""
    suites = sorted({r.key.suite for r in results.records})
    learners = {r.key.learner for r in results.records}
    lines = [
        "# Results of metabench",
        "",
        f"{len(results.records)} cells of {len(learners)} learners on {', '.join(suites)}; "
        f"{len(results.episodes):,} episode rows.",
        "",
        "A cell is one learner meta-trained with one seed and scored on one source of a suite. The "
        "seed is the replicate: an interval over episodes of one seed says nothing of the method.",
        "",
        "| columns | meaning |",
        "| --- | --- |",
        *(f"| {name} | {meaning} |" for name, meaning in COLUMNS.items()),
        "",
    ]
    return CARD + "\n".join(lines)


def _bytes(table: pd.DataFrame, form: Format) -> bytes:
    if form == "csv":
        return table.to_csv(index=False).encode()
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
