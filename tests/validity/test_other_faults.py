"""Faults outside the matrix: fixed labels, planted cues, and public answers known by heart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from metabench.learners.contract import LearnerCard, TaskInfo
from metabench.learners.controls.harmonic import SeedExploiter
from metabench.rng import Address
from metabench.suite import Suite, load_suite
from metabench.tasks import sample
from metabench.validity import judge

DATA = Path(__file__).parents[1] / "data"
PUBLIC = load_suite(DATA / "faults-harmonics")
OTHERS = ("position-cheat", "noise-features", "constant-score")


class Thief(SeedExploiter):
    """Draws the public episodes of its seed for itself: all that it takes is the suite's file."""

    card = LearnerCard("thief", "control", ("regression",))

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        (source,) = PUBLIC.source
        base = Address.of("metabench", PUBLIC.fingerprint, source.name)
        address = base.child("meta-test", seed)
        self.steal(sample(source.train, source.episode, address, range(150)))


def flags(learners: tuple[object, ...], suite: Suite) -> dict[tuple[str, str], object]:
    verdicts: pd.DataFrame = judge(learners, 0, suite)  # type: ignore[arg-type]
    columns = (verdicts["probe"], verdicts["label"], verdicts["flagged"])
    return {(probe, label): flag for probe, label, flag in zip(*columns, strict=True)}


@pytest.fixture(scope="module")
def glyphs() -> dict[tuple[str, str], object]:
    learners = ("fixed-label-map", "cue-reader", *OTHERS)
    return flags(learners, load_suite(DATA / "faults-glyphs"))


def test_a_cue_reader_is_flagged_where_the_mark_moves_and_no_learner_blind_to_it(
    glyphs: dict[tuple[str, str], object],
) -> None:
    assert glyphs["cue-gap", "cue-reader"] is True
    assert not any(glyphs["cue-gap", name] for name in OTHERS)


def test_labels_that_do_not_follow_the_support_are_flagged(
    glyphs: dict[tuple[str, str], object],
) -> None:
    """Features of noise, and pixels, are followed by their prototypes wherever labels go."""
    for name in ("fixed-label-map", "cue-reader", "position-cheat", "constant-score"):
        assert glyphs["lpc", name] is True, name
    for name in ("nearest-neighbour", "noise-features"):
        assert glyphs["lpc", name] is False, name


def test_answers_stolen_from_public_episodes_do_not_help_on_private_ones() -> None:
    found = flags((Thief, "broad-bayes", "narrow-bayes"), PUBLIC)
    assert found["public-gap", "thief"] is True
    assert not any(found["public-gap", n] for n in ("broad-bayes", "narrow-bayes"))
