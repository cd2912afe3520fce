"""Predictions only: episodes out without labels, predictions in, the scores of the learner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from metabench.cli import app
from metabench.episodes import Query, Support
from metabench.errors import MetabenchError
from metabench.learners import LEARNERS
from metabench.salt import new_salt
from metabench.store import load_records

WHERE = ["source", "seed", "condition", "level", "episode"]
COMMON = """
name = "{name}"
version = 1
title = "Small"
question = "Are predictions scored as the learner would be?"
baselines = ["{baseline}"]
{oracle}

[preset.smoke]
seeds = 2
episodes = 6
budget = {{ tasks = 400, steps = 100, seconds = 120 }}
"""
CLUSTERS = (
    COMMON.format(
        name="small-clusters",
        baseline="nearest-neighbour",
        oracle='oracle = "declared"\nceiling = 1.0',
    )
    + """
[[source]]
name = "clusters"
train = { task = "clusters", spread = 1.0 }
episode = { way = [2, 5], shot = [1, 3], query = 5 }

[[source.condition]]
name = "overlap"
shift = "spread"
levels = [0.8]
"""
)
SINUSOID = (
    COMMON.format(name="small-waves", baseline="ridge", oracle='oracle = "bayes"')
    + """
[[source]]
name = "waves"
train = { task = "sinusoid" }
episode = { shot = 5, query = 7 }

[[source.condition]]
name = "noise"
shift = "noise"
levels = [0.5]
"""
)


def invoked(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def predicted(folder: Path, learner: Any) -> pd.DataFrame:
    """What a stranger with another program does: each episode from its own rows."""
    support = pd.read_parquet(folder / "support.parquet")
    query = pd.read_parquet(folder / "query.parquet")
    assert "y" not in query
    sets = dict(list(support.groupby(WHERE)))
    rows = []
    for where, asked in query.groupby(WHERE, sort=False):
        given = sets[where]
        x = torch.from_numpy(np.stack(given["x"]))[None]
        labels = np.stack(given["y"])
        y = torch.from_numpy(labels)[None]
        whole = torch.ones(1, len(given), dtype=torch.bool)
        way = torch.tensor([int(given["way"].iloc[0])])
        state = learner.adapt(Support(x, y, whole, way))
        at = torch.from_numpy(np.stack(asked["x"]))[None]
        output = learner.predict(state, Query(at, torch.ones(1, len(asked), dtype=torch.bool)))
        part = asked[[*WHERE, "item"]].copy()
        part["prediction"] = [row.double().numpy() for row in output.output[0]]
        rows.append(part)
    # In whatever order.
    return pd.concat(rows).sample(frac=1, random_state=0)


@pytest.mark.parametrize(
    ("text", "baseline"), [(CLUSTERS, "nearest-neighbour"), (SINUSOID, "ridge")]
)
@pytest.mark.parametrize("salted", [False, True])
def test_predictions_of_a_learner_get_its_scores(
    text: str, baseline: str, salted: bool, tmp_path: Path
) -> None:
    suite, folder, out = tmp_path / "suite", tmp_path / "episodes", tmp_path / "run"
    suite.mkdir()
    (suite / "suite.toml").write_text(text)
    secret: list[object] = []
    if salted:
        new_salt(tmp_path / "salt")
        secret = ["--salt", tmp_path / "salt"]
    exported = invoked("episodes", "export", "--suite", suite, "--out", folder, *secret)
    assert exported.exit_code == 0, exported.output
    predicted(folder, LEARNERS.get(baseline)()).to_parquet(tmp_path / "p.parquet")
    words = ["score", tmp_path / "p.parquet", "--episodes", folder, "--suite", suite]
    words += ["--name", "elsewhere", "--family", "other", "--out", out, *secret]
    scored = invoked(*words)
    assert scored.exit_code == 0, scored.output
    results = load_records(out)
    mine = [r for r in results.records if r.key.learner == "elsewhere"]
    assert len(mine) == 2
    assert {r.provenance for r in mine} == {"claimed"}
    assert all(r.key.parameters == {"predictions_only": True} for r in mine)
    assert all(bool(r.key.salt) == salted for r in mine)
    order = ["seed", "condition", "level", "episode", "metric"]
    one, other = (
        results.episodes[results.episodes["learner"] == name].sort_values(order)
        for name in ("elsewhere", baseline)
    )
    assert len(one) > 0
    assert one[order].reset_index(drop=True).equals(other[order].reset_index(drop=True))
    # A batch of one episode rounds otherwise than a batch of many; a class is a class.
    if baseline == "nearest-neighbour":
        np.testing.assert_array_equal(one["value"], other["value"])
    else:
        np.testing.assert_allclose(one["value"], other["value"], rtol=1e-3, atol=1e-5)


def doubled(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[:1]])


def changed(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.reset_index(drop=True)
        table.at[3, column] = value
        return table

    return change


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    root = tmp_path_factory.mktemp("scene")
    (root / "suite.toml").write_text(CLUSTERS)
    invoked("episodes", "export", "--suite", root, "--out", root / "e", "--seeds", 1)
    return root, root / "e", predicted(root / "e", LEARNERS.get("nearest-neighbour")())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.iloc[1:], "is missing"),
        (lambda t: t[t["episode"] != 2], "episode 2: predictions are missing"),
        (lambda t: t[t["condition"] != "overlap"], "overlap level 1: predictions are missing"),
        (doubled, "predicted twice"),
        (changed("seed", 9), "seed 9.*no such episodes were exported"),
        (changed("episode", 99), "(is missing|found episode 99)"),
        (lambda t: t.assign(prediction=t["prediction"].str[:1]), "scores, one a class, found 1"),
        (changed("prediction", np.ones(40)), "scores, one a class, found 40"),
        (lambda t: t.assign(prediction=t["prediction"].map(lambda v: v * np.nan)), "nan is no"),
        (lambda t: t.drop(columns="item"), "no column 'item'"),
        (lambda t: t.assign(label=1), "unknown column 'label'"),
    ],
)
def test_wrong_rows_are_named(
    scene: tuple[Path, Path, pd.DataFrame],
    change: Callable[[pd.DataFrame], pd.DataFrame],
    told: str,
    tmp_path: Path,
) -> None:
    suite, folder, table = scene
    change(table).to_parquet(tmp_path / "p.parquet")
    words = ["score", tmp_path / "p.parquet", "--episodes", folder, "--suite", suite]
    with pytest.raises(MetabenchError, match=told):
        invoked(*words, "--name", "x", "--family", "other", "--out", tmp_path / "run")
    assert not list((tmp_path / "run" / "records").glob("*.json"))


def test_predictions_for_salted_episodes_need_the_salt(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(CLUSTERS)
    new_salt(tmp_path / "salt")
    words = ["episodes", "export", "--suite", tmp_path, "--out", tmp_path / "e", "--seeds", 1]
    invoked(*words, "--salt", tmp_path / "salt")
    predicted(tmp_path / "e", LEARNERS.get("nearest-neighbour")()).to_parquet(tmp_path / "p")
    words = ["score", tmp_path / "p", "--episodes", tmp_path / "e", "--suite", tmp_path]
    with pytest.raises(MetabenchError, match="need the salt that they were exported with"):
        invoked(*words, "--name", "x", "--family", "other", "--out", tmp_path / "run")


def test_the_card_is_one_that_datasets_reads(
    scene: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    import datasets

    loaded = datasets.load_dataset(str(scene[1]), "query", cache_dir=str(tmp_path))
    assert set(loaded["train"].column_names) == {*WHERE, "item", "way", "x"}
