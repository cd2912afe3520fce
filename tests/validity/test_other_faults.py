"""A planted cue: the learner that reads it is flagged, and none that is blind to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.suite import load_suite
from metabench.validity import judge

FAULTS = Path(__file__).parents[1] / "data" / "faults-glyphs"
BLIND = ("fixed-label-map", "position-cheat", "noise-features", "constant-score")


@pytest.fixture(scope="module")
def flags() -> dict[tuple[str, str], object]:
    verdicts = judge(("cue-reader", *BLIND), 0, load_suite(FAULTS))
    keys = zip(verdicts["probe"], verdicts["label"], strict=True)
    return dict(zip(keys, verdicts["flagged"], strict=True))


def test_a_cue_reader_is_flagged_where_the_mark_moves_and_no_learner_blind_to_it(
    flags: dict[tuple[str, str], object],
) -> None:
    assert flags["cue-gap", "cue-reader"] is True
    assert not any(flags["cue-gap", name] for name in BLIND)


def test_a_mark_does_not_follow_a_renaming_of_the_classes(
    flags: dict[tuple[str, str], object],
) -> None:
    assert flags["lpc", "cue-reader"] is True
