"""Without a Bayes predictor, a fault is measured by what it costs a learner of single tasks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from metabench.episodes import Prediction, Query, Support
from metabench.learners.baselines.ridge import Ridge
from metabench.learners.contract import LearnerCard
from metabench.suite import load_suite
from metabench.validity import judge

SUITE = Path(__file__).parents[1] / "data" / "brittle-glyphs"


class EightBits(Ridge):
    """Ridge, as long as pixels are whole 255ths; a query with any other it reads upside down."""

    card = LearnerCard("eight-bits", "control", ("classification",))

    def predict(self, state: object, query: Query) -> Prediction:
        levels = query.x * 255
        clean = (levels - levels.round()).abs().flatten(2).amax(dim=2) < 1e-3
        found = super().predict(state, query).output  # type: ignore[arg-type]
        return Prediction(torch.where(clean[..., None], found, -found))


class FirstCounts(Ridge):
    """Ridge, but the class of the item that is first in the support has no vote."""

    card = LearnerCard("first-counts", "control", ("classification",), sequential=True)

    def adapt(self, support: Support) -> object:  # type: ignore[override]
        self.first: Tensor = support.y[:, 0]
        return super().adapt(support)

    def predict(self, state: object, query: Query) -> Prediction:
        found = super().predict(state, query).output  # type: ignore[arg-type]
        mine = torch.arange(found.shape[-1]) == self.first[:, None]
        return Prediction(found.masked_fill(mine[:, None], -1e3))


@pytest.fixture(scope="module")
def verdicts() -> pd.DataFrame:
    return judge((EightBits, FirstCounts, "noise-features"), 0, load_suite(SUITE))


def flags(verdicts: pd.DataFrame, label: str) -> set[str]:
    own = verdicts[(verdicts["label"] == label) & (verdicts["flagged"] == True)]  # noqa: E712
    return set(own["probe"])


def test_who_fails_off_the_grid_of_pixels_is_flagged(verdicts: pd.DataFrame) -> None:
    """By its loss in 30 of the replicates 0 to 29; the ratio needs a baseline that feels it."""
    assert "brittleness-loss 0.1" in flags(verdicts, "eight-bits")


@pytest.mark.parametrize("name", ["ridge", "nearest-neighbour", "first-counts", "noise-features"])
def test_who_loses_no_more_than_a_learner_of_single_tasks_is_not(
    verdicts: pd.DataFrame, name: str
) -> None:
    """None of them was in any of the replicates 0 to 29; a bad learner need not be brittle."""
    assert not flags(verdicts, name)
