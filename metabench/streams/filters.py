"""Exact filters that know the law of the drift: the oracles of a stream.

All predict f(x_t) from the labels before item t, and from x_t.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabench.errors import MetabenchError
from metabench.tasks.drift import Drawn, LinearGaussian, StreamBatch, StreamSpec
from metabench.tasks.finite import LEAST_NOISE


def run_length_filter(
    features: Tensor,
    y: Tensor,
    noise: float,
    *,
    hazard: float = 0.0,
    retain: float = 1.0,
    innovation: float = 0.0,
    hypotheses: int = 64,
) -> Tensor:
    """E[f(x_t) | y_1..y_{t-1}] for features [N, L, F] and labels [N, L] -> [N, L], float64.

    y_t = features_t . w_t + noise, with w_1 ~ N(0, I). Before every later item, with probability
    ``hazard`` w is drawn anew from there, and else w_t = retain w_{t-1} + sqrt(innovation) N(0, I).
    One Kalman filter for each time at which the present regime may have begun, weighted by the
    posterior of that time (Adams and MacKay 2007, equations 2 and 3, with the hazard known). Exact
    with ``hypotheses`` >= L, or without hazard; else the least likely beginning is forgotten
    (Fearnhead and Liu 2007, section 3, without their resampling).
    """
    features, y = features.double(), y.double()
    count, length, size = features.shape
    slots = min(hypotheses, length) if hazard else 1
    eye = torch.eye(size, dtype=torch.float64)
    mean = features.new_zeros(count, slots, size)
    cov = eye.expand(count, slots, size, size).clone()
    log_weight = features.new_full((count, slots), -math.inf)
    log_weight[:, 0] = 0.0
    every = torch.arange(count)
    predictions = torch.empty_like(y)
    for t in range(length):
        if t and innovation:
            mean *= retain
            cov = retain**2 * cov + innovation * eye
        if t and hazard:
            log_weight = log_weight + math.log1p(-hazard)
            least = log_weight.argmin(dim=1)
            mean[every, least] = 0.0
            cov[every, least] = eye
            log_weight[every, least] = math.log(hazard)
        phi = features[:, t]
        spread = (cov @ phi[:, None, :, None]).squeeze(-1)
        expected = (mean @ phi[:, :, None]).squeeze(-1)
        variance = (spread @ phi[:, :, None]).squeeze(-1) + max(noise, LEAST_NOISE) ** 2
        predictions[:, t] = (log_weight.softmax(dim=1) * expected).sum(dim=1)
        error = y[:, t, None] - expected
        mean += spread * (error / variance)[..., None]
        cov = cov - spread[..., :, None] * (spread / variance[..., None])[..., None, :]
        log_weight = log_weight - 0.5 * (variance.log() + error.square() / variance)
        log_weight = log_weight - log_weight.logsumexp(dim=1, keepdim=True)
    return predictions


def regime_filter(values: Tensor, y: Tensor, noise: float, hazard: float) -> Tensor:
    """E[f(x_t) | y_1..y_{t-1}] [N, L] where the M regimes are known: values [N, L, M], y [N, L].

    The first regime is any; before every later item, with probability ``hazard``, one of the M - 1
    others follows, all alike (the forward recursion; Hamilton 1989, equations 4 to 8).
    """
    values, y = values.double(), y.double()
    many = values.shape[-1]
    weight = values.new_full((len(values), many), 1 / many)
    log_likelihood = -0.5 * ((y[..., None] - values) / max(noise, LEAST_NOISE)).square()
    predictions = torch.empty_like(y)
    for t in range(y.shape[1]):
        if t:
            weight = (1 - hazard) * weight + hazard * (1 - weight) / (many - 1)
        predictions[:, t] = (weight * values[:, t]).sum(dim=1)
        weight = (weight.log() + log_likelihood[:, t]).softmax(dim=1)
    return predictions


def kalman_gain(innovation: float, noise_variance: float) -> tuple[float, float]:
    """Steady state of a random walk seen in noise: the gain, and the variance before an item.

    P = (q + sqrt(q^2 + 4 q r)) / 2 solves the Riccati equation of the local level model, and the
    gain is P / (P + r) (Muth 1960; Harvey 1989, section 4.1.2).
    """
    q, r = innovation, noise_variance
    before = (q + math.sqrt(q * q + 4 * q * r)) / 2
    return before / (before + r), before


def filtered(drawn: Drawn, batch: StreamBatch, spec: StreamSpec, value: float) -> Tensor:
    """The exact prediction of every item [N, L]; MetabenchError where no filter is known."""
    family, y = drawn.family, batch.y[..., 0]
    if batch.pool is not None:
        return regime_filter(batch.pool, y, family.noise, value)
    if not isinstance(family, LinearGaussian):
        raise MetabenchError(f"{type(family).__name__} has no exact filter of a stream")
    walk, hazard = (value, 0.0) if spec.shift == "walk" else (0.0, value)
    return run_length_filter(
        family.features(batch.x),
        y,
        family.noise,
        hazard=hazard,
        retain=math.sqrt(1 - walk),
        innovation=walk,
        hypotheses=spec.hypotheses,
    )
