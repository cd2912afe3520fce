"""Planning: seeds that a difference needs, and what a run could have seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from metabench.statistics.power import components, detectable, power, seeds_needed


@pytest.mark.parametrize(("effect", "seeds"), [(0.8, 15), (1.0, 10), (1.2, 8), (1.5, 6), (2.0, 5)])
def test_seeds_for_eighty_percent_power(effect: float, seeds: int) -> None:
    """Two-sided paired t at 5 %, from tables of the noncentral t distribution."""
    assert seeds_needed(effect, 1.0) == seeds


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 3), (1.3, 7), (0.2, 40)])
def test_power_is_statsmodels(effect: float, seeds: int) -> None:
    assert power(effect, 1.0, seeds) == pytest.approx(TTestPower().power(effect, seeds, 0.05))


@given(st.floats(0.1, 5), st.integers(2, 40))
def test_what_a_run_could_have_seen_is_the_reverse_of_what_it_needs(
    spread: float, seeds: int
) -> None:
    difference = detectable(spread, seeds)
    assert difference is not None
    assert power(difference, spread, seeds) == pytest.approx(0.8, abs=1e-6)
    assert seeds_needed(difference * 1.0001, spread) == seeds


def test_no_difference_needs_more_than_any_number_of_seeds() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-4, 1.0) is None
    assert detectable(1.0, 1) is None
    assert power(1.0, 1.0, 1) == 0
    assert power(1.0, 0.0, 3) == 1


def test_the_parts_of_the_variance_are_found_again() -> None:
    rng = np.random.default_rng(0)
    differences = 2.0 * rng.normal(size=(400, 1)) + 8.0 * rng.normal(size=(400, 100))
    found = components(differences)
    assert found.seed == pytest.approx(2.0, rel=0.1)
    assert found.episode == pytest.approx(8.0, rel=0.02)
    assert found.of_seed_mean() == pytest.approx(differences.mean(axis=1).std(), rel=0.02)
    assert found.of_seed_mean(10_000) == pytest.approx(2.0, rel=0.1)


def test_seeds_that_do_not_differ_have_no_variance_of_their_own() -> None:
    same = np.tile([1.0, -1.0], (4, 10))
    assert components(same).seed == 0
    with pytest.raises(ValueError, match="two seeds"):
        components(np.ones((1, 50)))
