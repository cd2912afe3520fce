"""Sensitivity to hyper-parameters: by hand, by known surfaces, and of nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from metabench.estimators.sensitivity import (
    failed,
    gamma,
    near_best,
    over_points,
    phi,
    termination_ratio,
)

Array = NDArray[np.float64]


def twice(scores: list[list[float]]) -> Array:
    """[E, P] -> [E, 2, P]: both halves the same."""
    return np.repeat(np.array(scores, dtype=np.float64)[:, None], 2, axis=1)


def test_gamma_puts_the_5th_and_95th_percentile_of_an_environment_at_0_and_1() -> None:
    found = gamma(twice([list(range(21)), list(range(0, 210, 10))]))
    assert found[0, 0, 1] == pytest.approx(0)
    assert found[0, 0, 19] == pytest.approx(1)
    assert found[1] == pytest.approx(found[0])


def test_a_failed_training_has_the_least_score() -> None:
    scores = twice([[0.0, 1.0, np.nan, 3.0]])
    assert gamma(scores)[0, 0, 2] == gamma(scores)[0, 0, 0]
    assert failed(scores).tolist() == [0.25]


def test_a_failed_training_is_never_near_the_best() -> None:
    """The rest all score the same, so that the least score is the best one too."""
    assert near_best(twice([[0.7, np.nan, 0.7, np.nan]])).tolist() == [0.5]
    assert near_best(twice([[np.nan] * 4])).tolist() == [0.0]
    assert phi(twice([[np.nan] * 4, [0.0, 1.0, 2.0, 3.0]])) == pytest.approx(0)


def test_phi_is_what_tuning_to_each_environment_wins() -> None:
    # 41 settings; the best of one environment is the worst of the other.
    up = np.linspace(0, 1, 41)
    assert phi(twice([list(up), list(up)])) == pytest.approx(0)
    best = gamma(twice([list(up)]))[0, 0, -1]
    assert phi(twice([list(up), list(1 - up)])) == pytest.approx(best - 0.5)
    assert phi(twice([list(up)])) == 0


def test_v95_is_the_share_of_settings_near_the_best() -> None:
    # Percentiles 5 and 95 of these are 0 and 1, so that gamma is the score.
    scores = [0.0] * 12 + [0.5] * 3 + [0.96, 1.0, 1.0, 1.0, 1.0]
    assert near_best(twice([scores])).tolist() == [pytest.approx(5 / 20)]


def test_the_best_setting_is_scored_where_it_was_not_chosen() -> None:
    # Half 0 is fooled by the last setting, which half 1 knows to be the worst.
    scores = np.array([[[0.0, 0.1, 0.2, 9.0], [0.5, 0.6, 0.7, 0.0]]])
    assert near_best(scores).tolist() == [1.0]


def test_a_constant_learner_is_not_sensitive() -> None:
    same = np.full((3, 2, 8), 0.7)
    assert phi(same) == 0
    assert near_best(same).tolist() == [1, 1, 1]
    assert np.isnan(termination_ratio(np.ones(4), np.ones(4)))


def test_noise_alone_is_not_called_sensitivity_to_environments() -> None:
    """One surface for all environments: naive Phi is large, the split one is about zero."""
    rng = np.random.default_rng(0)
    surface = np.linspace(0, 1, 32)
    naive, split = [], []
    for _ in range(200):
        scores = surface + 0.5 * rng.normal(size=(3, 2, 32))
        split.append(phi(scores))
        naive.append(phi(np.repeat(scores[:, :1], 2, axis=1)))
    assert np.mean(naive) > 0.15
    assert np.mean(split) < 0.02


SCORES = arrays(np.float64, (2, 2, 6), elements=st.integers(-40, 40).map(lambda i: i / 4))


@given(SCORES, st.integers(1, 9), st.integers(-9, 9), st.permutations(range(6)))
@settings(max_examples=80, deadline=None)
def test_neither_unit_nor_origin_nor_order_of_settings_matters(
    scores: Array, scale: int, offset: int, order: list[int]
) -> None:
    # Ties would let the order choose.
    scores = scores + 1e-3 * np.sqrt(np.arange(1, 7))
    moved = (scale * scores + offset)[..., order]
    assert phi(moved) == pytest.approx(phi(scores))
    assert near_best(moved) == pytest.approx(near_best(scores), abs=0.2)
    assert ((near_best(scores) > 0) & (near_best(scores) <= 1)).all()


def test_the_termination_ratio_compares_interquartile_ranges() -> None:
    lower, upper = np.array([0.0, 1, 2, 3, 4]), np.array([0.0, 0.5, 1, 1.5, 2])
    assert termination_ratio(lower, upper) == pytest.approx(0.5)
    assert termination_ratio(upper, lower) == pytest.approx(2)


def test_the_bootstrap_over_points_covers_a_termination_ratio() -> None:
    """Normal scores of deviation 1 and 0.5 at 64 points each: rho is 0.5."""
    rng = np.random.default_rng(0)
    runs, covered = 80, 0
    for run in range(runs):
        lower, upper = rng.normal(size=64), 0.5 * rng.normal(size=64)
        low, high = over_points(termination_ratio, lower, upper, draws=199, seed=run)
        covered += low <= 0.5 <= high
    assert covered / runs > 0.9


def test_the_bootstrap_over_points_covers_v95() -> None:
    """A quarter of the settings are good, the rest are not; halves have a little noise."""
    rng = np.random.default_rng(0)
    runs, covered = 50, 0
    for run in range(runs):
        good = rng.random(64) < 0.25
        scores = np.where(good, 1.0, 0.3) + 0.004 * rng.normal(size=(1, 2, 64))
        low, high = over_points(lambda s: float(near_best(s).mean()), scores, draws=199, seed=run)
        covered += low <= 0.25 <= high
    assert covered / runs > 0.85
