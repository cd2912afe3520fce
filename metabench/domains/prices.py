"""Returns under hidden regimes: a market that changes, and forecasters that adapt to it.

Hamilton 1989's model with two regimes, bull and bear, and heavy-tailed noise. A forecaster gives a
density for tomorrow's return; its loss is the negative log density. The exact filter is the best
there is, the stationary mixture is the best that does not adapt.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import stats
from scipy.signal import lfilter
from scipy.special import logsumexp

from metabench.rng import Address
from metabench.statistics.hamilton import Filtered, hamilton_filter, symmetric_chain

Array = NDArray[np.float64]
States = NDArray[np.int64]

BULL, BEAR, CRISIS = (0.05, 0.8), (-0.10, 2.0), (-0.10, 4.0)
"""Mean and scale of daily returns, in percent."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Market:
    """r_t = m_z + s_z e_t with Student's e and z a symmetric Markov chain."""

    regimes: tuple[tuple[float, float], ...] = (BULL, BEAR)
    stay: Annotated[float, Field(ge=0, le=1, description="P(same regime the next day)")] = 0.98
    tail: Annotated[float, Field(gt=0, description="degrees of freedom; inf: normal")] = 5.0

    def sample(self, address: Address, series: int, days: int) -> tuple[Array, States]:
        """Returns in percent and their regimes [series, days], the chain in equilibrium."""
        states = len(self.regimes)
        shape = (series, days)
        switch = address.generator("switch").random(shape) >= self.stay
        step = address.generator("to").integers(1, max(2, states), size=shape) * switch
        step[:, 0] = address.generator("first").integers(states, size=series)
        z = np.cumsum(step, axis=1) % states
        u = address.generator("noise").random(shape)
        mean, scale = np.array(self.regimes).T
        return np.asarray(mean[z] + scale[z] * stats.t.ppf(u, self.tail)), z

    def log_density(self, returns: Array) -> Array:
        """log p(r | z) [..., S]."""
        mean, scale = np.array(self.regimes).T
        standard = (returns[..., None] - mean) / scale
        return np.asarray(stats.t.logpdf(standard, self.tail) - np.log(scale))

    def filter(self, returns: Array) -> Filtered:
        """The regime of every day given the days before [series, days, S]."""
        states = len(self.regimes)
        chain = symmetric_chain(states, self.stay)
        return hamilton_filter(self.log_density(returns), chain, np.full(states, 1 / states))


def filter_loss(market: Market, returns: Array) -> Array:
    """The loss [series, days] of whoever takes this market for the true one and filters."""
    return -market.filter(returns).log_density


def static_loss(market: Market, returns: Array) -> Array:
    """The loss of the equilibrium mixture, which never adapts."""
    states = len(market.regimes)
    return np.asarray(np.log(states) - logsumexp(market.log_density(returns), axis=-1))


def informed_loss(market: Market, returns: Array, z: States) -> Array:
    """The loss of whoever is told today's regime."""
    density = market.log_density(returns)
    return np.asarray(-np.take_along_axis(density, z[..., None], axis=-1)[..., 0])


def moving_average_loss(market: Market, returns: Array, keep: float) -> Array:
    """The loss of an exponential moving average of squares, which knows the tails alone.

    variance_t = keep variance_t-1 + (1 - keep) r_t-1^2, from the equilibrium variance on; the
    density is Student's with that variance and mean 0. Raises ValueError for tails without one.
    """
    if market.tail <= 2:
        raise ValueError("tails of 2 degrees of freedom or fewer have no variance")
    spread = float(stats.t.var(market.tail))
    mean, scale = np.array(market.regimes).T
    start = float((mean**2 + scale**2 * spread).mean())
    squares = np.concatenate([np.full((len(returns), 1), start), returns[:, :-1] ** 2], axis=1)
    first = np.full((len(returns), 1), keep * start)
    variance, _ = lfilter([1 - keep], [1, -keep], squares, axis=1, zi=first)
    width = np.sqrt(variance / spread)
    return np.asarray(np.log(width) - stats.t.logpdf(returns / width, market.tail))


def advantage(loss: Array, static: Array, best: Array) -> float:
    """A = (static - loss) / (static - best), of mean losses: 1 for the filter, 0 for no learning.

    Raises ValueError where the filter gains nothing, so that there is no scale.
    """
    gain = float(static.mean() - best.mean())
    if gain <= 0:
        raise ValueError("the filter gains nothing over the static forecast")
    return float(static.mean() - loss.mean()) / gain
