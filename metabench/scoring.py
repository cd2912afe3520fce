"""Predictions and labels -> one number an episode."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.episodes import Episodes, Prediction
from metabench.errors import ContractError

LARGEST = 1e6
"""Squared error of a query, at most; a prediction that is not a number has it."""
TOLERANCE = 1e-3
"""Largest change, relative to the scale of the outputs, that batching may cause in a prediction."""


def same(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Equal within the tolerance relative to the largest finite value; infinities must agree."""
    if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = a[a.isfinite()], b[b.isfinite()]
    if a.numel() == 0:
        return True
    return bool((a - b).abs().max() <= tolerance * a.abs().max().clamp_min(1e-6))


def require_fit(prediction: Prediction, episodes: Episodes) -> Tensor:
    """The output as float64 on the CPU; raises ContractError if its shape does not fit."""
    output = prediction.output
    tasks, queries = episodes.query.mask.shape
    regression = episodes.support.kind == "regression"
    least = episodes.support.y.shape[-1] if regression else episodes.support.max_way
    fits = output.ndim == 3 and output.shape[:2] == (tasks, queries)
    if not fits or output.shape[2] < least or (regression and output.shape[2] > least):
        last = f"D={least}" if regression else f"W>={least}"
        raise ContractError(
            f"predict returned shape {list(output.shape)}, expected [{tasks}, {queries}, {last}]"
        )
    return output.detach().to("cpu", torch.float64)


def is_number(output: Tensor, episodes: Episodes) -> Tensor:
    """[T, Q]: where a prediction counts; a class may have the score -inf, a target may not."""
    if episodes.support.kind == "regression":
        return output.isfinite().all(dim=-1)
    return ~output.isnan().any(dim=-1)


def score(prediction: Prediction, episodes: Episodes) -> Tensor:
    """Accuracy or mean squared error of each episode [T], over its valid queries."""
    return mean_over(episodes.query.mask, query_scores(prediction, episodes))


def query_scores(prediction: Prediction, episodes: Episodes) -> Tensor:
    """1 where a query is right and 0 where wrong, or its squared error [T, Q].

    Tied classes share the point, so that a constant prediction scores chance. A prediction that is
    not a number is wrong, or has the squared error ``LARGEST``, which no other exceeds: a learner
    gains nothing by failing, and one episode spoils no mean.
    """
    output = require_fit(prediction, episodes)
    y = episodes.query_y.cpu()
    valid = is_number(output, episodes)
    if episodes.support.kind == "regression":
        error = (output - y).square().mean(dim=-1)
        return torch.where(valid, error.clamp_max(LARGEST), LARGEST)
    tied = most_likely(output, episodes.support.way)
    right = tied.gather(-1, y[..., None]).squeeze(-1) / tied.sum(dim=-1).clamp_min(1)
    return torch.where(valid, right, 0.0)


def most_likely(output: Tensor, way: Tensor) -> Tensor:
    """[T, Q, W] bool: the classes with the highest score of those that a task has."""
    absent = torch.arange(output.shape[-1]) >= way.cpu()[:, None]
    present = ~absent[:, None].expand_as(output)
    best = output.masked_fill(~present, float("-inf")).amax(dim=-1, keepdim=True)
    return (output == best) & present


def agreement(expected: Prediction, found: Prediction, episodes: Episodes) -> Tensor:
    """Share of an episode's queries [T] whose two predictions are the same class.

    Ties count in parts: the chance that a random choice among the tied agrees.
    """
    one, other = (
        most_likely(require_fit(p, episodes), episodes.support.way).double()
        for p in (expected, found)
    )
    alike = (one / one.sum(-1, keepdim=True).clamp_min(1) * other).sum(-1)
    return mean_over(episodes.query.mask, alike / other.sum(-1).clamp_min(1))


def distance(one: Tensor, other: Tensor, episodes: Episodes) -> Tensor:
    """Mean squared difference of two outputs [T, Q, D] for each episode [T], up to ``LARGEST``."""
    apart = (one.double().cpu() - other.double().cpu()).square().mean(dim=-1)
    return mean_over(episodes.query.mask, apart.nan_to_num(nan=LARGEST).clamp_max(LARGEST))


def halves(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The query mask [T, Q] of the queries at even and at odd places."""
    even = torch.arange(mask.shape[1]) % 2 == 0
    return mask.cpu() & even, mask.cpu() & ~even


def mean_over(mask: Tensor, values: Tensor) -> Tensor:
    """[T, Q] -> [T]; where nothing counts, NaN."""
    mask = mask.cpu()
    return torch.where(mask, values.double(), 0.0).sum(dim=1) / mask.sum(dim=1)
