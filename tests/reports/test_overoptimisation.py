"""The over-optimisation picture: it shows the turn where there is one, and says it in words."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.boards import PanelBoard, build_board
from metabench.estimators import Panel
from metabench.records import IN_DISTRIBUTION, Condition
from metabench.reports.drawing import Picture
from metabench.reports.overoptimisation import (
    APART,
    courses,
    overoptimisation_pictures,
    places_apart,
)
from metabench.reports.palette import looks
from tests.factories import BASE, BAYES, Learner, constant, make_protocol, make_results

STEPS = np.array([0, *np.geomspace(1, 3000, 15).round().astype(int)])
SEEN = Condition(name="old", title="", role="seen-tasks", values=[])


def falling(end: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """From 0.9 towards ``end``, half of it by step 60."""
    return end + (0.9 - end) / (1 + (STEPS / 60) ** 1.2)


def turning(end: float, loss: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Falls, and rises by ``loss`` after step 300 or so."""
    return falling(end) + loss / (1 + (300 / np.maximum(STEPS, 1e-9)) ** 2)


def with_history(part: PanelBoard, seeds: int = 5) -> PanelBoard:
    """``few`` over-optimises, ``many`` does not, ``still`` has no checkpoints."""
    rng = np.random.default_rng(0)
    rows = []
    for label, proxy, gold in (
        ("few", falling(0.03), turning(0.2, 0.6)),
        ("many", falling(0.22), falling(0.24)),
    ):
        for seed in range(seeds):
            own = 1 + 0.06 * rng.normal(size=2)
            for condition, curve, level in (
                (SEEN.name, proxy, own[0]),
                (IN_DISTRIBUTION, gold, own[1]),
            ):
                for step, risk in zip(STEPS, level * curve, strict=True):
                    values = risk * (1 + 0.02 * rng.normal(size=4))
                    rows += [
                        (label, condition, seed, int(step), i, v, v) for i, v in enumerate(values)
                    ]
    names = ["label", "condition", "seed", "checkpoint", "episode", "value", "risk"]
    history = pd.DataFrame(rows, columns=names).assign(level=0, metric="mse")
    return replace(part, panel=replace(part.panel, history=history))


@pytest.fixture(scope="module")
def part() -> PanelBoard:
    learners = [Learner(name, constant(0.5), "gradient") for name in ("few", "many", "still")]
    protocol = make_protocol(conditions=[SEEN])
    board = build_board(make_results([BASE, BAYES, *learners], protocol=protocol))
    return with_history(board.panels[0])


@pytest.fixture(scope="module")
def pictures(part: PanelBoard) -> dict[str, Picture]:
    learners = [Learner(name, constant(0.5), "gradient") for name in ("few", "many", "still")]
    styles = looks(build_board(make_results([BASE, BAYES, *learners])))
    return {p.title: p for p in overoptimisation_pictures(part, styles)}


def svg(uri: str) -> str:
    return base64.b64decode(uri.split(",")[1]).decode()


def test_only_learners_with_checkpoints_have_a_picture(pictures: dict[str, Picture]) -> None:
    assert set(pictures) == {"few", "many"}


def test_a_turn_is_marked_and_named_and_a_healthy_course_is_not(
    pictures: dict[str, Picture],
) -> None:
    few, many = svg(pictures["few"].light), svg(pictures["many"].light)
    assert "lost again" in few
    assert "best" in few
    assert "kept" in many
    assert "best" not in many


def test_the_words_say_what_the_picture_shows(pictures: dict[str, Picture]) -> None:
    alt = pictures["few"].alt
    assert "Risk of few along 3000 meta-steps" in alt
    assert "T = " in pictures["few"].subtitle
    assert "5 seeds" in pictures["few"].subtitle


def test_facets_share_one_scale(pictures: dict[str, Picture]) -> None:
    ticks = [re.findall(r">(0\.\d+)</text>", svg(p.light)) for p in pictures.values()]
    assert ticks[0] == ticks[1]
    assert len(ticks[0]) > 2


def test_no_name_from_a_record_is_inside_the_picture(part: PanelBoard) -> None:
    panel = part.panel
    history = panel.history.assign(label=panel.history["label"].replace("few", "evil$^name"))
    evil: Panel = replace(panel, history=history)
    rows = [replace(r, label="evil$^name") if r.label == "few" else r for r in part.rows]
    styles = looks(build_board(make_results([BASE, Learner("evil$^name", family="gradient")])))
    board = replace(part, panel=evil, rows=tuple(r for r in rows if r.label == "evil$^name"))
    (made,) = overoptimisation_pictures(board, styles)
    assert "evil" not in svg(made.light)
    assert "evil$^name" in made.alt


def test_a_course_needs_three_checkpoints(part: PanelBoard) -> None:
    panel = part.panel
    short = panel.history[panel.history["checkpoint"] < 2]
    assert courses(replace(panel, history=short)) == {}


def test_one_seed_has_lines_and_no_bands(part: PanelBoard) -> None:
    panel = part.panel
    one = courses(replace(panel, history=panel.history[panel.history["seed"] == 0]))["few"]
    assert one.gold[0].low is None
    assert one.steps == STEPS.tolist()


@given(st.floats(0, 1), st.floats(0, 1))
def test_names_neither_touch_each_other_nor_the_axis(a: float, b: float) -> None:
    low, high = places_apart(min(a, b), max(a, b))
    assert high - low >= APART - 1e-9
    assert low >= APART / 2 - 1e-9
    if min(a, b) >= APART / 2 and abs(a - b) >= APART:
        assert (low, high) == (min(a, b), max(a, b))
