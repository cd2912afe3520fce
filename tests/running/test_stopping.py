"""Episodes may end early where an accuracy is known well enough."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import metabench
from metabench import evaluation
from metabench.errors import MetabenchError

SUITE = """
name = "stopping"
version = 1
title = "Clusters"
question = "When is an accuracy known?"
baselines = ["nearest-neighbour"]
oracle = "declared"
ceiling = 1.0

[preset.all]
seeds = 1
episodes = 300
budget = {{ tasks = 10, steps = 1, seconds = 60 }}

[preset.smoke]
seeds = 1
episodes = 300
stop = {stop}
budget = {{ tasks = 10, steps = 1, seconds = 60 }}

[[source]]
name = "clusters"
train = {{ task = "clusters", spread = 5.0 }}
episode = {{ way = 5, shot = 1, query = 5 }}

[[source.condition]]
name = "overlap"
shift = "spread"
levels = [0.5]
"""


def scored(folder: Path, preset: str, stop: float = 0.1) -> pd.Series:
    """(condition, episode) -> accuracy of the nearest neighbour."""
    path = folder / "suite" / "suite.toml"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(SUITE.format(stop=stop))
    results = metabench.run(
        "nearest-neighbour", path.parent, preset=preset, out=folder / preset, workers=0
    )
    assert [r.error for r in results.failures] == []
    return results.episodes.set_index(["condition", "episode"])["value"].sort_index()


def test_an_easy_condition_costs_fewer_episodes_and_those_are_the_first_ones(
    tmp_path: Path,
) -> None:
    every, stopped = scored(tmp_path, "all"), scored(tmp_path, "smoke")
    counts = stopped.groupby("condition").size()
    assert every.groupby("condition").size().tolist() == [300, 300]
    assert counts["in-distribution"] < counts["overlap"] < 300
    for condition, count in counts.items():
        assert stopped[condition].tolist() == every[condition].tolist()[:count]


def test_where_it_ends_does_not_depend_on_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = scored(tmp_path / "large", "smoke")
    monkeypatch.setattr(evaluation, "ITEMS", 90)
    small = scored(tmp_path / "small", "smoke")
    assert large.groupby("condition").size().tolist() == small.groupby("condition").size().tolist()


def test_a_width_that_is_never_reached_costs_all_episodes(tmp_path: Path) -> None:
    assert len(scored(tmp_path, "smoke", stop=0.001)) == 600


def test_squared_errors_have_no_such_rule(tmp_path: Path) -> None:
    text = SUITE.format(stop=0.1).replace(
        'train = { task = "clusters", spread = 5.0 }', 'train = { task = "sinusoid" }'
    )
    text = text.replace("{ way = 5, shot = 1, query = 5 }", "{ shot = 5, query = 5 }")
    path = tmp_path / "suite.toml"
    path.write_text(text.replace('shift = "spread"', 'shift = "noise"'))
    with pytest.raises(MetabenchError, match=r"suite\.toml.*stop: needs scores within \[0, 1\]"):
        metabench.load_suite(tmp_path)
