"""Finite sets of functions of a law, and the Bayes predictor that knows the set."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import Episodes
from metabench.rng import BLOCK, Address, BlockDraws, Plan, Streams

Array = NDArray[np.float64]
LEAST_NOISE = 1e-3
"""Standard deviation that a likelihood without noise is given."""
VALUES = 2**20
"""Function values held at a time, at most."""


class Functions(Protocol):
    """What is needed of a family of functions."""

    noise: float

    def draw_tasks(self, draws: BlockDraws) -> dict[str, Array]:
        """Parameters [BLOCK, ...]."""
        ...

    def evaluate(self, tasks: Plan, x: Array) -> Array:
        """f(x) [T, n]."""
        ...


def task_set(family: Functions, address: Address, count: int) -> dict[str, Array]:
    """The parameters of the first ``count`` tasks of the stream ``address``."""
    streams = Streams(address)
    blocks = [family.draw_tasks(BlockDraws(streams, b)) for b in range(-(-count // BLOCK))]
    return {name: np.concatenate([b[name] for b in blocks])[:count] for name in blocks[0]}


def posterior_mean(
    family: Functions, tasks: Plan, episodes: Episodes, log_prior: Array | None = None
) -> Tensor:
    """The Bayes predictor [T, Q, 1] for a prior on these tasks, with Gaussian noise.

    ``log_prior`` [M, T] is that of each episode; by default it is uniform.

    For linear functions it is the discrete minimum mean squared error estimator (dMMSE) of
    Raventos et al. 2023, equation 6. An empty support gives the prior mean.
    """
    support, query = episodes.support, episodes.query
    count, items = len(next(iter(tasks.values()))), support.x.shape[1] + query.x.shape[1]
    size = max(1, VALUES // (count * items))
    columns = _columns(episodes)
    if log_prior is None:
        log_prior = np.zeros((1, support.tasks))
    parts = [
        _posterior_mean(
            family, tasks, log_prior[:, i : i + size], *(t[i : i + size] for t in columns)
        )
        for i in range(0, support.tasks, size)
    ]
    return torch.from_numpy(np.concatenate(parts)).float().unsqueeze(-1)


def _columns(episodes: Episodes) -> tuple[Array, Array, Array, Array]:
    """Support x and y, support mask, query x as float64 [T, n]."""
    support = episodes.support
    columns = (support.x[..., 0], support.y[..., 0], support.mask, episodes.query.x[..., 0])
    x, y, mask, query = (t.cpu().double().numpy() for t in columns)
    return x, y, mask, query


def _posterior_mean(
    family: Functions,
    tasks: Plan,
    log_prior: Array,
    x: Array,
    y: Array,
    mask: Array,
    query: Array,
) -> Array:
    count = len(next(iter(tasks.values())))

    def values(at: Array) -> Array:
        """f_m(x) of every task m [M, T, n]."""
        flat = np.tile(at.reshape(1, -1), (count, 1))
        return family.evaluate(tasks, flat).reshape(count, *at.shape)

    error = ((values(x) - y) ** 2 * mask).sum(axis=2)
    log_weight = log_prior - error / (2 * max(family.noise, LEAST_NOISE) ** 2)
    weight = np.exp(log_weight - log_weight.max(axis=0))
    weight /= weight.sum(axis=0)
    return np.asarray(np.einsum("mt,mtq->tq", weight, values(query)), dtype=np.float64)
