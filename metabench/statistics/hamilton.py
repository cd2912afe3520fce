"""The Bayes filter of a hidden Markov chain, in logarithms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Filtered:
    """What is known of the state at every time."""

    predicted: Array
    """P(z_t | y_1..t-1) [..., n + 1, S], of the first unseen time at last."""
    filtered: Array
    """P(z_t | y_1..t) [..., n, S]."""
    log_density: Array
    """log p(y_t | y_1..t-1) [..., n]."""


def hamilton_filter(log_density: Array, transition: Array, initial: Array) -> Filtered:
    """The filter of Hamilton 1989 (Econometrica 57), equations 4.5 to 4.7, over a batch of series.

    ``log_density`` [..., n, S] is log p(y_t | z_t), 0 where nothing was seen; ``transition``
    [S, S] is P(z_t = j | z_t-1 = i); ``initial`` [S] is P(z_1).
    """
    with np.errstate(divide="ignore"):
        log_p = np.broadcast_to(np.log(initial), log_density[..., 0, :].shape)
    predicted, filtered, densities = [np.exp(log_p)], [], []
    for t in range(log_density.shape[-2]):
        joint = log_p + log_density[..., t, :]
        density = logsumexp(joint, axis=-1, keepdims=True)
        filtered.append(np.exp(joint - density))
        densities.append(density[..., 0])
        predicted.append(filtered[-1] @ transition)
        with np.errstate(divide="ignore"):
            log_p = np.log(predicted[-1])
    return Filtered(
        np.stack(predicted, axis=-2), np.stack(filtered, axis=-2), np.stack(densities, axis=-1)
    )


def symmetric_chain(states: int, stay: float) -> Array:
    """A transition matrix: stay with that probability, else any other state alike."""
    away = (1 - stay) / max(1, states - 1)
    return np.full((states, states), away) + (stay - away) * np.eye(states)
