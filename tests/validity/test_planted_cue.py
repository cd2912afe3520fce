"""A planted cue: who learned to read it is flagged, and no learner whose pixels it merely moves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from metabench.suite import load_suite
from metabench.validity import judge

SUITE = Path(__file__).parents[1] / "data" / "planted-cue"
BASELINES = ("nearest-neighbour", "ridge")
BLIND = ("noise-features", "position-cheat", "constant-score")


@pytest.fixture(scope="module")
def verdicts() -> pd.DataFrame:
    judged = judge(("cue-reader", "fixed-label-map", *BLIND), 0, load_suite(SUITE))
    return judged.set_index(["probe", "label"])


@pytest.mark.parametrize("name", ["cue-reader", "fixed-label-map"])
def test_who_took_the_mark_from_meta_training_is_flagged(verdicts: pd.DataFrame, name: str) -> None:
    """In replicates 0 to 39 each of the two was flagged in 40 of 40."""
    assert verdicts.loc[("cue-gap", name), "flagged"] is True


@pytest.mark.parametrize("name", [*BASELINES, *BLIND])
def test_who_learned_nothing_of_marks_is_not(verdicts: pd.DataFrame, name: str) -> None:
    """In replicates 0 to 39 none of the five was, though a swap costs pixels .25 or more."""
    assert not verdicts.loc[("cue-gap", name), "flagged"]


def test_a_mark_does_not_follow_a_renaming_of_the_classes(verdicts: pd.DataFrame) -> None:
    assert verdicts.loc[("lpc", "cue-reader"), "flagged"] is True
    assert verdicts.loc[("lpc", "nearest-neighbour"), "mean"] > 0.99
