"""Exported files give no label away, and the documented example is scored."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.salt import new_salt
from metabench.store import load_records

WHERE = ["source", "seed", "condition", "level", "episode"]
PAGE = Path(__file__).parents[2] / "docs" / "predictions.md"
EPISODES, WAY, PER_CLASS = 60, 4, 6
SUITE = f"""
name = "positions"
version = 1
title = "Positions"
question = "Does the place of a query give its class away?"
baselines = ["nearest-neighbour"]
oracle = "declared"
ceiling = 1.0

[preset.smoke]
seeds = 1
episodes = {EPISODES}
budget = {{ tasks = 400, steps = 100, seconds = 120 }}

[[source]]
name = "clusters"
train = {{ task = "clusters", spread = 1.0 }}
episode = {{ way = {WAY}, shot = 2, query = {PER_CLASS} }}

[[source.condition]]
name = "overlap"
shift = "spread"
levels = [0.8]
"""


def invoked(*words: object) -> None:
    done = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def scored(folder: Path, name: str) -> NDArray[np.float64]:
    """The accuracies of a predictions file that lies beside the episodes."""
    words = ["score", folder / "predictions.parquet", "--episodes", folder / "episodes"]
    words += ["--suite", folder, "--name", name, "--family", "other", "--out", folder / name]
    invoked(*words)
    rows = load_records(folder / name).episodes
    return rows[rows["learner"] == name]["value"].to_numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("positions")
    (root / "suite.toml").write_text(SUITE)
    invoked("episodes", "export", "--suite", root, "--out", root / "episodes")
    return root


def test_the_documented_example_is_scored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code) == 1
    monkeypatch.chdir(folder)
    exec(compile(code[0], str(PAGE), "exec"), {})
    values = scored(folder, "documented")
    assert len(values) == 2 * EPISODES
    assert values.mean() > 1.5 / WAY


@pytest.mark.parametrize("guess", ["constant", "block", "cycle"])
def test_a_guess_from_the_place_scores_chance(folder: Path, guess: str) -> None:
    query = pd.read_parquet(folder / "episodes" / "query.parquet")
    item = query["item"].to_numpy()
    place = {"constant": 0 * item, "block": item // PER_CLASS, "cycle": item % WAY}[guess]
    table = query[[*WHERE, "item"]].assign(prediction=list(np.eye(WAY)[place]))
    table.to_parquet(folder / "predictions.parquet")
    values = scored(folder, guess)
    # Conditions share their tasks: the replicate is an episode of the two together.
    apart = values.reshape(2, EPISODES).mean(axis=0) - 1 / WAY
    assert abs(apart.mean()) <= 4 * apart.std() / np.sqrt(EPISODES) + 1e-12


def test_no_column_holds_labels_and_no_query_is_a_support_item(folder: Path) -> None:
    support = pd.read_parquet(folder / "episodes" / "support.parquet")
    query = pd.read_parquet(folder / "episodes" / "query.parquet")
    assert set(query.columns) == {*WHERE, "item", "way", "x"}
    labelled = {x.tobytes() for x in support["x"]}
    assert not any(x.tobytes() in labelled for x in query["x"])


def test_salted_episodes_are_others(folder: Path, tmp_path: Path) -> None:
    new_salt(tmp_path / "salt")
    words = ["--suite", folder, "--out", tmp_path / "episodes", "--salt", tmp_path / "salt"]
    invoked("episodes", "export", *words)
    public, private = (
        {x.tobytes() for x in pd.read_parquet(f / "episodes" / "query.parquet")["x"]}
        for f in (folder, tmp_path)
    )
    assert not public & private


def refused(suite: Path, episodes: Path, told: str, *words: object) -> None:
    pd.DataFrame().to_parquet(suite / "none.parquet")
    given = ["score", suite / "none.parquet", "--episodes", episodes, "--suite", suite]
    given += ["--name", "x", "--family", "other", "--out", suite / "refused", *words]
    with pytest.raises(MetabenchError, match=told):
        invoked(*given)
    assert not list((suite / "refused" / "records").glob("*.json"))


def test_another_secret_and_another_suite_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    new_salt(tmp_path / "salt")
    new_salt(tmp_path / "other")
    words = ["--suite", tmp_path, "--out", tmp_path / "private", "--salt", tmp_path / "salt"]
    invoked("episodes", "export", *words)
    needed = "need the salt that they were exported with"
    refused(tmp_path, tmp_path / "private", needed, "--salt", tmp_path / "other")
    refused(tmp_path, folder / "episodes", "need no salt", "--salt", tmp_path / "salt")
    (tmp_path / "suite.toml").write_text(SUITE.replace("[0.8]", "[0.7]"))
    refused(tmp_path, folder / "episodes", "another version of suite")
