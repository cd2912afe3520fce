"""All suites together: who has an aggregate, profiles, and the picture of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from metabench.boards import build_board
from metabench.reports import build_report
from metabench.reports.headlines import headlines
from metabench.reports.overview import overview
from metabench.reports.ranking import cliques, profile, rank_picture
from metabench.statistics.families import critical_difference
from tests.factories import BASE, BAYES, Learner, constant, falling, make_results, merge

GOOD, BAD = Learner("good", constant(0.8)), Learner("bad", falling(0.1, 0.3))


def test_a_learner_that_lacks_a_suite_or_a_cell_has_no_aggregate_and_says_why() -> None:
    half = Learner("half", constant(0.9))
    broken = Learner("broken", status="failed", error="x", failed_seeds=[1])
    one = make_results([BASE, BAYES, GOOD, BAD, half, broken], source="one")
    two = make_results([BASE, BAYES, GOOD, BAD, broken], source="two")
    found = overview(build_board(merge(one, two)))
    standings = {s.label: s for s in found.tracks["inductive"]}
    assert [s.label for s in found.tracks["inductive"]][:3] == ["good", "ridge", "bad"]
    assert standings["half"].reason == "not run on toy / two"
    assert standings["broken"].reason == "2 cells did not finish"
    assert standings["half"].iqm is standings["broken"].place is None
    assert standings["good"].iqm is not None
    assert standings["good"].iqm.mean == pytest.approx(0.8, abs=0.15)
    assert "oracle" not in standings
    assert set(found.pool) == {"good", "bad", "ridge"}


def test_presets_are_never_averaged() -> None:
    parts = [make_results([BASE, BAYES, GOOD], preset=p) for p in ("smoke", "standard")]
    found = overview(build_board(merge(*parts)))
    assert "several presets" in found.note
    assert all(s.iqm is None for s in found.tracks["inductive"])
    assert found.pool == {}


def test_a_profile_is_the_share_above_with_a_band_that_stays_a_share() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.7], [0.1, 0.8], [0.5, 0.6]])
    low, middle, high = profile(scores, np.array([-1.0, 0.3, 0.95]))
    assert [low.mean, middle.mean, high.mean] == [1.0, 7 / 10, 0.0]
    assert middle.low is not None
    assert middle.high is not None
    assert 0 <= middle.low < middle.mean < middle.high <= 1
    assert profile(scores[:4], np.array([0.3]))[0].low is None


def test_ranks_are_drawn_where_they_are_and_bars_join_who_is_close() -> None:
    rng = np.random.default_rng(0)
    pool = {f"l{i}": rng.normal(-i, 0.01, (3, 12)) for i in range(6)}
    made = rank_picture(pool)
    assert made is not None
    assert [arm.rank for arm in made.ranked] == [1, 2, 3, 4, 5, 6]
    assert made.difference == critical_difference(6, 12)
    places = [arm.x for arm in made.ranked]
    assert np.allclose(np.diff(places), np.diff(places)[0], atol=0.2)
    assert [arm.left for arm in made.ranked] == [True] * 3 + [False] * 3
    assert "l0 1.00" in made.alt


def test_cliques_are_the_largest_runs_within_the_difference() -> None:
    assert cliques([1.0, 1.5, 2.2, 4.0, 4.1], 1.3) == [(0, 2), (3, 4)]
    assert cliques([1.0, 2.0, 3.0], 0.5) == []
    assert cliques([1.0, 1.1, 1.2], 5.0) == [(0, 2)]


def test_few_learners_or_tasks_have_no_picture_of_ranks() -> None:
    assert rank_picture({}) is None
    assert rank_picture({"a": np.zeros((3, 9)), "b": np.ones((3, 9))}) is None
    assert rank_picture({k: np.ones((3, 2)) for k in "abc"}) is None


def test_the_leading_pair_is_judged_with_the_correction_for_all_pairs() -> None:
    near = [Learner("first", constant(0.52)), Learner("second", constant(0.5))]
    (part,) = build_board(make_results([BASE, BAYES, *near], seed_sd=0.2)).panels
    words = " ".join(headlines(part))
    assert "cannot be told apart with 3 seeds" in words
    assert "Holm over 3 pairs" in words
    far = [Learner("first", constant(0.9)), Learner("second", constant(0.1))]
    (part,) = build_board(make_results([BASE, BAYES, *far], seeds=5)).panels
    assert "Out of distribution, first is ahead of second by +0." in " ".join(headlines(part))


def test_a_page_has_verdict_board_suites_learners_and_environment_in_that_order() -> None:
    page = build_report(make_results([BASE, BAYES, GOOD, BAD]))
    anchors = ["verdict", "board", "panel-1", "learners", "environment"]
    places = [page.index(f'id="{anchor}"') for anchor in anchors]
    assert places == sorted(places)
    assert page.count("Performance profiles</h3>") == page.count("Mean ranks</h3>") == 1
