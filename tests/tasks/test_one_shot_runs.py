"""Lake's 20 one-shot runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from metabench.errors import MetabenchError
from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.rng import Address, BlockDraws, Streams
from metabench.scoring import score
from metabench.tasks import Shape, sample
from metabench.tasks.one_shot_runs import RUNS, WAY, OneShotRuns, one_shot_runs
from tests.tasks.test_omniglot import needs_data, png, root, write  # noqa: F401 - a fixture

FILE = "omniglot-one-shot-runs/test.parquet"


def rows() -> pd.DataFrame:
    """Runs of bars, one width a label; queries come in reversed order and a pixel lower."""
    made = []
    for run in range(RUNS, 0, -1):
        for role in ("query", "support"):
            labels = range(WAY) if role == "support" else range(WAY - 1, -1, -1)
            for label in labels:
                image = Image.new("1", (105, 105), 1)
                top = 10 + (role == "query")
                image.paste(0, (5, top, 10 + 4 * label, top + 20))
                made.append({"image": png(image), "run": run, "role": role, "way_label": label})
    return pd.DataFrame(made)


def test_runs_are_episodes_in_the_order_of_the_rows(root: Path) -> None:  # noqa: F811
    (root / "omniglot-one-shot-runs").mkdir()
    write(root, rows(), FILE)
    e = one_shot_runs()
    assert e.support.x.shape == e.query.x.shape == (RUNS, WAY, 1, 28, 28)
    assert torch.equal(e.support.y, torch.arange(WAY).expand(RUNS, -1))
    assert torch.equal(e.query_y, e.support.y.flip(1))
    learner = NearestNeighbour()
    assert score(learner.predict(learner.adapt(e.support), e.query), e).tolist() == [1.0] * RUNS


def test_an_incomplete_run_is_refused(root: Path) -> None:  # noqa: F811
    with pytest.raises(MetabenchError, match="no such file"):
        one_shot_runs()
    (root / "omniglot-one-shot-runs").mkdir()
    write(root, rows().iloc[:-1], FILE)
    with pytest.raises(MetabenchError, match="one support item of each of 20 labels"):
        one_shot_runs()


@needs_data
@pytest.mark.data
def test_the_real_runs_are_hard_for_pixels() -> None:
    """Lake's pixel baselines err on most trials; people on 4.5 percent."""
    e = one_shot_runs()
    learner = NearestNeighbour()
    accuracy = score(learner.predict(learner.adapt(e.support), e.query), e)
    assert 0.1 < float(accuracy.mean()) < 0.4
    assert 0.03 < float(e.support.x.mean()) < 0.15


def test_the_task_goes_through_all_runs_with_labels_in_a_random_order(root: Path) -> None:  # noqa: F811
    (root / "omniglot-one-shot-runs").mkdir()
    write(root, rows(), FILE)
    task, shape = OneShotRuns(), Shape(way=WAY, shot=1, query=1)
    assert list(task.prepare()) == ["omniglot-one-shot-runs"]
    e = sample(task, shape, Address.of("runs"), range(RUNS))
    assert not torch.equal(e.support.y[0], e.support.y[1])
    assert (e.support.y.sort(dim=1).values == torch.arange(WAY)).all()
    learner = NearestNeighbour()
    assert score(learner.predict(learner.adapt(e.support), e.query), e).tolist() == [1.0] * RUNS
    with pytest.raises(MetabenchError, match="20-way, 1 shot, 1 query"):
        task.check_shape(Shape(way=5, shot=1, query=1))
    plan = task.plan(BlockDraws(Streams(Address.of("runs")), 0, 40), shape)
    assert (np.bincount(np.asarray(plan["run"])) == 2).all()
