"""The filter of a hidden Markov chain against enumeration and statsmodels."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.statistics.hamilton import hamilton_filter, symmetric_chain


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 3), st.integers(0, 1000))
def test_the_filter_is_the_sum_over_all_paths(days: int, states: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_density = rng.normal(size=(days, states))
    chain = rng.dirichlet(np.ones(states), size=states)
    start = rng.dirichlet(np.ones(states))
    found = hamilton_filter(log_density, chain, start)
    last, after = np.zeros(states), np.zeros(states)
    for path in product(range(states), repeat=days):
        p = start[path[0]] * np.exp(log_density[range(days), path].sum())
        p *= np.prod([chain[a, b] for a, b in pairwise(path)])
        last[path[-1]] += p
        after += p * chain[path[-1]]
    assert found.log_density.sum() == pytest.approx(np.log(last.sum()))
    assert np.allclose(found.filtered[-1], last / last.sum())
    assert np.allclose(found.predicted[-1], after / after.sum())
    assert np.allclose(found.predicted[0], start)


def test_the_filter_is_that_of_statsmodels() -> None:
    """MarkovRegression with switching mean and variance, at given parameters, not fitted."""
    regression = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    rng = np.random.default_rng(0)
    z = (rng.random(400) < 0.1).cumsum() % 2
    mean, scale = np.array([0.5, -1.0]), np.array([0.8, 2.0])
    y = mean[z] + scale[z] * rng.standard_normal(400)
    model = regression.MarkovRegression(y, k_regimes=2, switching_variance=True)
    theirs = model.filter([0.9, 0.2, *mean, *scale**2])
    chain = np.array([[0.9, 0.1], [0.2, 0.8]])
    log_density = -0.5 * ((y[:, None] - mean) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    ours = hamilton_filter(log_density, chain, np.array([2 / 3, 1 / 3]))
    assert ours.log_density.sum() == pytest.approx(theirs.llf, abs=1e-8)
    assert np.allclose(ours.filtered, theirs.filtered_marginal_probabilities, atol=1e-10)


def test_a_batch_is_filtered_series_by_series() -> None:
    log_density = np.random.default_rng(0).normal(size=(3, 4, 7, 2))
    chain, start = symmetric_chain(2, 0.9), np.array([0.3, 0.7])
    whole = hamilton_filter(log_density, chain, start)
    one = hamilton_filter(log_density[2, 1], chain, start)
    assert whole.predicted.shape == (3, 4, 8, 2)
    assert np.array_equal(whole.filtered[2, 1], one.filtered)


def test_impossible_states_stay_impossible_without_a_warning() -> None:
    log_density = np.zeros((3, 2))
    found = hamilton_filter(log_density, np.eye(2), np.array([1.0, 0.0]))
    assert np.array_equal(found.predicted, np.tile([1.0, 0.0], (4, 1)))


@pytest.mark.parametrize(("states", "stay"), [(2, 0.9), (3, 0.5), (1, 1.0)])
def test_a_symmetric_chain_stays_or_goes_anywhere_alike(states: int, stay: float) -> None:
    chain = symmetric_chain(states, stay)
    assert np.allclose(chain.sum(axis=1), 1)
    assert np.allclose(np.diag(chain), stay)
    assert np.allclose(chain, chain.T)
