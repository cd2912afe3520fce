"""Figures: the same bytes for the same numbers, and what lies outside is said."""

from __future__ import annotations

import re

import pytest

from metabench.boards import build_board
from metabench.reports.drawing import skill_pictures, training_pictures
from metabench.reports.figures import Line, skill_figure
from metabench.reports.palette import DARK, LIGHT, Look, Theme, darkened, looks
from metabench.statistics import t_interval
from tests.factories import BASE, BAYES, Learner, constant, make_protocol, make_results

HUE = Look("#0072b2", "#4aa8e8", "o", (), False)


def figure(*means: float | None, theme: Theme = LIGHT) -> str:
    points = [None if m is None else t_interval([m - 0.1, m, m + 0.1]) for m in means]
    ticks = [str(i) for i in range(len(means))]
    return skill_figure([Line("a", points)], ticks, {"a": HUE}, "oracle", theme)


def test_the_same_numbers_give_the_same_figure() -> None:
    assert figure(0.9, 0.1) == figure(0.9, 0.1)


def test_a_figure_has_the_colours_of_its_paper() -> None:
    assert HUE.light in figure(0.9, 0.1)
    assert HUE.light not in figure(0.9, 0.1, theme=DARK)
    assert HUE.dark in figure(0.9, 0.1, theme=DARK)


def test_a_darkened_figure_is_the_one_drawn_on_dark_paper() -> None:
    def nameless(svg: str) -> str:
        """Without the names of markers, which are made of their colours."""
        return re.sub('(id="|#)m[0-9a-f]{10}', "", svg)

    made = darkened(figure(0.9, -7.0))
    assert nameless(made) == nameless(figure(0.9, -7.0, theme=DARK))


def test_skill_beyond_the_figure_is_an_arrow_at_its_edge() -> None:
    inside, outside = figure(0.9, 0.1), figure(0.9, -7.0)
    assert "PathCollection" not in inside
    assert "PathCollection" in outside


def test_a_level_that_is_not_identifiable_is_no_point() -> None:
    assert figure(0.9, None, 0.1).count("<use") < figure(0.9, 0.5, 0.1).count("<use")


def test_no_name_from_a_record_is_inside_a_figure() -> None:
    evil = Learner("evil$^name", constant(0.5), "other")
    board = build_board(make_results([BASE, BAYES, evil], protocol=make_protocol()))
    (part,) = board.panels
    made = skill_pictures(part, looks(board)) + training_pictures(part, looks(board))
    assert made
    assert any("evil$^name" in picture.alt for picture in made)
    points = [t_interval([0.5])]
    svg = skill_figure([Line("evil$^name", points)], ["ID"], {"evil$^name": HUE}, "oracle", LIGHT)
    assert "evil" not in svg


@pytest.mark.parametrize("count", [1, 6, 7, 20])
def test_no_two_learners_look_the_same(count: int) -> None:
    learners = [Learner(f"l{i:02}", constant(0.5), "metric") for i in range(count)]
    found = looks(build_board(make_results([BASE, BAYES, *learners], seeds=1)))
    assert len(found) == count + 2
    assert len(set(found.values())) == count + 2
