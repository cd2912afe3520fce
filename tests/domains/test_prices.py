"""A market of regimes: its law, its forecasters, and where their order is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from metabench.domains.prices import (
    BEAR,
    BULL,
    CRISIS,
    Market,
    advantage,
    filter_loss,
    informed_loss,
    moving_average_loss,
    static_loss,
)
from metabench.rng import Address

ADDRESS = Address.of("tests", "prices")
MARKET = Market()


def test_returns_have_the_means_and_variances_of_their_regimes() -> None:
    market = replace(MARKET, tail=float("inf"))
    returns, z = market.sample(ADDRESS, 100, 1000)
    for regime, (mean, scale) in enumerate((BULL, BEAR)):
        assert returns[z == regime].mean() == pytest.approx(mean, abs=0.03)
        assert returns[z == regime].std() == pytest.approx(scale, rel=0.02)


def test_regimes_are_equally_frequent_and_last_as_long_as_declared() -> None:
    market = Market(regimes=(BULL, BEAR, CRISIS), stay=0.9)
    _, z = market.sample(ADDRESS, 200, 1000)
    assert np.allclose(np.bincount(z.ravel()) / z.size, 1 / 3, atol=0.02)
    assert (z[:, 1:] == z[:, :-1]).mean() == pytest.approx(0.9, abs=0.005)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.55, 0.99), st.integers(0, 100))
def test_the_true_filter_is_better_than_no_memory_and_worse_than_being_told(
    stay: float, seed: int
) -> None:
    market = replace(MARKET, stay=stay)
    returns, z = market.sample(ADDRESS.child(seed), 30, 1000)
    told, best, static = (
        informed_loss(market, returns, z).mean(),
        filter_loss(market, returns).mean(),
        static_loss(market, returns).mean(),
    )
    assert told < best < static + 1e-4


def test_without_memory_in_the_market_the_filter_is_the_static_mixture() -> None:
    market = replace(MARKET, stay=0.5)
    returns, _ = market.sample(ADDRESS, 2, 200)
    assert np.allclose(filter_loss(market, returns), static_loss(market, returns))
    with pytest.raises(ValueError, match="gains nothing"):
        advantage(static_loss(market, returns), static_loss(market, returns), np.full((2, 200), 9))


def test_regimes_that_change_faster_than_was_learned_make_the_filter_harmful() -> None:
    found = []
    for stay in (0.98, 0.9, 0.8):
        market = replace(MARKET, stay=stay)
        returns, _ = market.sample(ADDRESS, 20, 3000)
        static, best = static_loss(market, returns), filter_loss(market, returns)
        found.append(advantage(filter_loss(MARKET, returns), static, best))
    assert found[0] == 1
    assert 1 > found[1] > found[2]
    assert found[2] < 0


@pytest.mark.parametrize("keep", [0.5, 0.94])
def test_the_moving_average_is_the_recursion(keep: float) -> None:
    returns = np.array([[1.0, -2.0, 0.5]])
    spread = 5 / 3
    mean, scale = np.array([BULL, BEAR]).T
    variance = float((mean**2 + scale**2 * spread).mean())
    for t, r in enumerate(returns[0]):
        width = np.sqrt(variance / spread)
        expected = -stats.t.logpdf(r / width, 5) + np.log(width)
        assert moving_average_loss(MARKET, returns, keep)[0, t] == pytest.approx(expected)
        variance = keep * variance + (1 - keep) * r**2


def test_densities_integrate_to_one() -> None:
    last = np.linspace(-300, 300, 60_001)[:, None]
    returns = np.concatenate([np.tile([3.0, -1.0], (len(last), 1)), last], axis=1)
    for losses in (
        filter_loss(MARKET, returns),
        static_loss(MARKET, returns),
        moving_average_loss(MARKET, returns, 0.9),
    ):
        total = integrate.trapezoid(np.exp(-losses[:, -1]), last[:, 0])
        assert total == pytest.approx(1, abs=1e-4)


def test_tails_without_a_variance_are_refused() -> None:
    with pytest.raises(ValueError, match="no variance"):
        moving_average_loss(replace(MARKET, tail=2.0), np.ones((1, 3)), 0.9)
