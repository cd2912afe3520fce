"""Aggregates: known values, scipy as an oracle, and what the bootstrap promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from metabench.statistics import aggregate

SCORES = arrays(np.float64, (5, 4), elements=st.floats(-2, 2, width=32))


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@given(SCORES)
def test_the_interquartile_mean_is_scipys_trimmed_mean(scores: np.ndarray) -> None:
    assert aggregate.iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None))


@given(SCORES, SCORES)
def test_the_probability_of_improvement_is_mann_whitneys_statistic(
    a: np.ndarray, b: np.ndarray
) -> None:
    expected = np.mean(
        [stats.mannwhitneyu(x, y).statistic / 25 for x, y in zip(a.T, b.T, strict=True)]
    )
    assert aggregate.probability_of_improvement(a, b) == pytest.approx(expected)
    both = aggregate.probability_of_improvement(a, b) + aggregate.probability_of_improvement(b, a)
    assert both == pytest.approx(1)


def test_nothing_is_gained_above_the_target() -> None:
    assert aggregate.optimality_gap(np.array([[0.4, 1.8]])) == pytest.approx(0.3)
    assert aggregate.optimality_gap(np.array([[1.0, 3.0]])) == 0


def test_a_profile_counts_scores_above_each_threshold() -> None:
    scores = np.array([[0.1, 0.9], [0.5, 0.7]])
    profile = aggregate.performance_profile(scores, np.array([0.0, 0.5, 0.8]))
    assert profile.tolist() == [1.0, 0.5, 0.25]


def test_one_score_far_off_moves_the_mean_and_not_the_interquartile_mean() -> None:
    scores = np.linspace(0, 1, 20).reshape(5, 4)
    broken = scores.copy()
    broken[0, 0] = -100
    assert aggregate.iqm(broken) == pytest.approx(aggregate.iqm(scores))
    assert aggregate.mean(broken) < aggregate.mean(scores) - 4


@pytest.mark.parametrize("apart", [True, False])
def test_the_bootstraps_variance_is_that_of_the_mean_only_with_one_draw_less(apart: bool) -> None:
    scores = generator().normal(size=(4, 6))
    of_tasks, of_seeds = scores.var(axis=0, ddof=1).sum() / 36, scores.mean(axis=1).var(ddof=1)
    unbiased = (of_tasks if apart else of_seeds) / 4

    def spread(draws: int | None) -> float:
        means = aggregate.resampled(scores, aggregate.mean, generator(), 20_000, draws, apart=apart)
        return float(means.var())

    assert spread(None) == pytest.approx(unbiased, rel=0.04)
    assert spread(4) == pytest.approx(unbiased * 3 / 4, rel=0.04)


@pytest.mark.parametrize("apart", [True, False])
def test_tasks_never_exchange_their_seeds(apart: bool) -> None:
    scores = np.repeat([[0.0, 10.0]], 5, axis=0)
    drawn = aggregate.resampled(scores, aggregate.mean, generator(), 50, apart=apart)
    assert set(drawn) == {5.0}


def test_of_a_mean_the_interval_is_students_over_seeds() -> None:
    scores = generator().normal(size=(6, 1)) + 0.1 * generator().normal(size=(6, 8))
    found = aggregate.bootstrap_interval(scores, aggregate.mean, generator())
    students = stats.ttest_1samp(scores.mean(axis=1), 0).confidence_interval()
    assert found.half_width == pytest.approx((students.high - students.low) / 2, rel=0.03)


def test_tasks_of_one_training_are_not_taken_for_replicates() -> None:
    scores = np.repeat(generator().normal(size=(5, 1)), 30, axis=1)
    together, apart = (
        aggregate.bootstrap_interval(scores, aggregate.iqm, generator(), apart=apart).half_width
        for apart in (False, True)
    )
    assert together is not None
    assert apart is not None
    assert together > 3 * apart


def test_batches_do_not_change_what_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = generator().normal(size=(5, 3))
    whole = aggregate.resampled(scores, aggregate.iqm, generator(), 100)
    monkeypatch.setattr(aggregate, "BATCH", 24)
    assert aggregate.resampled(scores, aggregate.iqm, generator(), 100) == pytest.approx(whole)


def test_one_seed_has_no_interval_and_two_seeds_have_no_crossed_one() -> None:
    one = aggregate.bootstrap_interval(np.ones((1, 3)), aggregate.iqm, generator())
    assert (one.mean, one.low, one.high) == (1.0, None, None)
    assert aggregate.crossed_interval(np.ones((2, 50))).low is None
    assert aggregate.improvement_interval(np.ones((4, 3)), np.ones((5, 3)), generator()).low is None


def test_shared_episodes_widen_the_interval_of_a_mean() -> None:
    rng = generator()
    own = rng.normal(size=(6, 1)) * 0.1 + rng.normal(size=(6, 200))
    shared = own + 3 * rng.normal(size=200)
    narrow, wide = (aggregate.crossed_interval(v) for v in (own, shared))
    over_seeds = stats.ttest_1samp(shared.mean(axis=1), 0).confidence_interval()
    assert wide.half_width is not None
    assert narrow.half_width is not None
    assert wide.half_width > 2 * narrow.half_width
    assert wide.half_width > over_seeds.high - over_seeds.low


@pytest.mark.parametrize("scores", [np.ones(3), np.ones((0, 3)), np.array([[np.nan, 1.0]])])
def test_what_is_missing_is_the_callers_policy(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no NaN"):
        aggregate.bootstrap_interval(scores, aggregate.iqm, generator())
