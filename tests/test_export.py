"""Records as tables for other tools."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from datasets import load_dataset
from typer.testing import CliRunner

from metabench.cli import app
from metabench.export import Format, export
from metabench.records import EPISODE_COLUMNS
from metabench.store import Store
from tests.factories import BASE, BAYES, Learner, constant, make_results

BROKEN = Learner("broken", status="diverged", error="=inf")
RESULTS = make_results([BASE, BAYES, Learner("good", constant(0.8)), BROKEN], seeds=2)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_tables_hold_every_cell_and_every_episode(tmp_path: Path, form: Format) -> None:
    cells, episodes = export(RESULTS, tmp_path / "new", form)
    read = pd.read_csv if form == "csv" else pd.read_parquet
    table, rows = read(cells), read(episodes)
    assert set(table["record"]) == {r.id for r in RESULTS.records}
    assert dict(zip(table["learner"], table["status"], strict=True))["broken"] == "diverged"
    assert list(rows.columns) == ["record", *EPISODE_COLUMNS]
    assert len(rows) == len(RESULTS.episodes)
    assert rows["value"].to_numpy() == pytest.approx(RESULTS.episodes["value"].to_numpy())
    assert set(rows["record"]) <= set(table["record"])


def test_the_hubs_library_reads_the_folder(tmp_path: Path) -> None:
    paths = export(RESULTS, tmp_path / "out", "hub")
    assert [p.name for p in paths] == ["cells.parquet", "episodes.parquet", "README.md"]
    cache = str(tmp_path / "cache")
    loaded = load_dataset(str(tmp_path / "out"), "cells", split="train", cache_dir=cache)
    assert sorted(set(loaded["learner"])) == ["broken", "good", "oracle", "ridge"]
    episodes = load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache)
    assert len(episodes) == len(RESULTS.episodes)


def test_export_from_the_command_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.open()
    for record in RESULTS.records:
        own = RESULTS.episodes[RESULTS.episodes["record"] == record.id]
        store.write(record, own.drop(columns="record") if len(own) else None)
    arguments = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "out" / "cells.csv")) == len(RESULTS.records)
