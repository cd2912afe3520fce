"""Selection optimism against normal theory, and against tails that are not normal."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from metabench.estimators import panels
from metabench.estimators.selection import (
    expected_maximum,
    gaussian_optimism,
    growth,
    halves,
    selection_optimism,
    selection_table,
    tail_excess,
)
from tests.factories import BASE, BAYES, Learner, constant, make_results


def test_optimism_is_what_a_hand_computes() -> None:
    # Even episodes: means 2, 1, 0; odd ones: 0, 3, 1.
    scores = np.array([[2.0, 0.0, 2.0, 0.0], [1.0, 3.0, 1.0, 3.0], [0.0, 1.0, 0.0, 1.0]])
    found = selection_optimism(scores)
    assert found.value == pytest.approx(((2 - 0) + (3 - 1)) / 2)
    assert found.gain == pytest.approx(((2 - 1) + (3 - 4 / 3)) / 2)
    assert found.flag


def test_the_largest_of_n_normal_numbers_is_bloms_nearly() -> None:
    assert expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert expected_maximum(2) == pytest.approx(1 / np.pi**0.5)
    for n in (5, 10, 100, 1000):
        blom = stats.norm.ppf(1 - 0.625 / (n + 0.25))
        assert expected_maximum(n) == pytest.approx(float(blom), rel=0.02)


@pytest.mark.parametrize(
    ("episodes", "n", "measured"), [(100, 100, 2.25), (600, 10, 0.39), (5000, 10, 0.06)]
)
def test_normal_scores_have_the_optimism_of_normal_theory(
    episodes: int, n: int, measured: float
) -> None:
    """True scores differ by 0.5 points, an episode has 10; ``episodes`` in each half."""
    rng = np.random.default_rng(n)
    error = 10 / episodes**0.5
    predicted = gaussian_optimism(0.5, error, n)
    assert predicted == pytest.approx(measured, abs=0.02)
    gaps = []
    for _ in range(4000):
        true = 0.5 * rng.normal(size=n)
        a, b = true + error * rng.normal(size=(2, n))
        gaps.append(a.max() - b[a.argmax()])
    assert np.mean(gaps) == pytest.approx(predicted, abs=3 * np.std(gaps) / 4000**0.5)


def test_the_prediction_beside_it_sees_through_shared_difficulty() -> None:
    """Episodes that are hard for everybody change neither the optimism nor its prediction."""
    rng = np.random.default_rng(0)
    values, predicted = [], []
    for _ in range(300):
        true = 0.5 * rng.normal(size=(20, 1))
        shared = 30 * rng.normal(size=(1, 100))
        found = selection_optimism(true + shared + 5 * rng.normal(size=(20, 100)))
        # The shared part of the halves' difference has mean zero over both roles.
        values.append(found.value)
        predicted.append(found.gaussian)
    exact = gaussian_optimism(0.5, 5 / 50**0.5, 20)
    assert np.mean(predicted) == pytest.approx(exact, rel=0.05)
    assert np.mean(values) == pytest.approx(exact, abs=3 * np.std(values) / 300**0.5)


def test_nearly_all_of_a_gain_between_equals_is_optimism() -> None:
    rng = np.random.default_rng(0)
    found = [selection_optimism(rng.normal(size=(10, 200))) for _ in range(200)]
    shares = np.mean([f.value for f in found]) / np.mean([f.gain for f in found])
    assert shares == pytest.approx(1.0, abs=0.1)
    real = rng.normal(size=(10, 1)) + 0.1 * rng.normal(size=(10, 200))
    assert not selection_optimism(real).flag


SCORES = st.integers(2, 7).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(-50, 50), min_size=6, max_size=6), min_size=n, max_size=n
    )
)


@given(SCORES, st.integers(-9, 9), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_optimism_has_the_unit_of_the_score_and_no_origin(
    rows: list[list[int]], offset: int, scale: int
) -> None:
    scores = np.array(rows, dtype=np.float64)
    found, moved = selection_optimism(scores), selection_optimism(scale * scores + offset)
    assert moved.value == pytest.approx(scale * found.value, abs=1e-9)
    assert moved.gaussian == pytest.approx(scale * found.gaussian, abs=1e-9)
    assert found.gain >= 0


@given(SCORES)
@settings(max_examples=60, deadline=None)
def test_growth_is_the_mean_over_all_sets_of_configurations(rows: list[list[int]]) -> None:
    # A little of its own for every configuration, so that none tie.
    scores = np.array(rows) + 1e-3 * np.sqrt(np.arange(1, len(rows) + 1))[:, None]
    curve = growth(scores)
    for k in range(2, len(rows) + 1):
        each = [
            selection_optimism(scores[list(s)]).value for s in combinations(range(len(rows)), k)
        ]
        assert curve[k - 1] == pytest.approx(np.mean(each))


def test_one_configuration_has_no_optimism_on_average_over_halves() -> None:
    scores = np.arange(12.0).reshape(3, 4)
    assert growth(scores)[0] == pytest.approx(0)
    with pytest.raises(ValueError, match="two configurations"):
        selection_optimism(scores[:1])


def mean_excess(noise: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of tail_excess over replicates [R, n, m], and its standard error."""
    values = np.array([tail_excess(scores) for scores in noise])
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def test_only_a_heavy_tailed_discrepancy_outgrows_normal_optimism() -> None:
    rng = np.random.default_rng(3)
    mean, error = mean_excess(rng.normal(size=(800, 64, 8)))
    assert abs(mean) < 3 * error
    # Errors that belong to a configuration: few are far off, and those are picked.
    heavy = rng.standard_t(2, size=(800, 64, 8))
    mean, error = mean_excess(heavy)
    assert mean > 5 * error


def test_halves_have_equally_many_episodes() -> None:
    a, b = halves(np.array([[1.0, 2.0, 3.0, 4.0, 100.0]]))
    assert (a.item(), b.item()) == (2.0, 3.0)


def test_baselines_and_the_oracle_are_not_selected_among() -> None:
    learners = [Learner(name, constant(s), "metric") for name, s in (("a", 0.3), ("b", 0.6))]
    results = make_results([BASE, BAYES, *learners], seeds=2)
    (panel,) = panels(results.records, results.episodes)
    table = selection_table(panel)
    assert table["n"].tolist() == [2, 2]
    assert table["seed"].tolist() == [0, 1]
    few = make_results([BASE, BAYES, learners[0]])
    (alone,) = panels(few.records, few.episodes)
    assert selection_table(alone).empty
