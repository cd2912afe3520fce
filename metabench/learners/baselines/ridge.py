"""Ridge on each task alone: kernel ridge regression, and a ridge classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.learners.baselines.nearest_neighbour import distances
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner

LENGTHS = (0.25, 0.5, 1.0, 2.0)
PENALTIES = (1e-4, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Dual:
    """Dual coefficients [T, S, L], offset [T, 1, L], length scale [T], and the support set."""

    coefficients: Tensor
    offset: Tensor
    length: Tensor
    support: Support


@LEARNERS.register("ridge")
@dataclass(eq=False)
class Ridge(MetaLearner[Dual]):
    """Regression: Gaussian kernel, length and penalty chosen per task by leave-one-out error.

    The candidate lengths are multiples of the median distance between support inputs; the
    leave-one-out residual is a_i / G^-1_ii (Rasmussen and Williams 2006, equation 5.12).
    Classification: linear kernel on one-hot labels, penalty relative to the kernel's mean diagonal.
    """

    card = LearnerCard(
        name="ridge",
        family="baseline",
        kinds=("classification", "regression"),
        citation="Hoerl, Kennard 1970. Ridge regression. Technometrics.",
    )

    penalty: Annotated[float, Field(gt=0, description="relative penalty, classification")] = 1.0

    def adapt(self, support: Support) -> Dual:
        """Solve every task in closed form."""
        mask = support.mask[..., None].to(support.x.dtype)
        regression = support.kind == "regression"
        y = support.y if regression else one_hot(support.y, support.max_way)
        offset = (y * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        y = (y - offset) * mask
        if not regression:
            kernel = linear(support.x, support.x) * mask * mask.mT
            trace = kernel.diagonal(dim1=1, dim2=2).sum(-1) / mask.sum((1, 2))
            inverse = _inverse(kernel, self.penalty * trace.clamp_min(1e-6))
            return Dual(inverse @ y, offset, torch.ones_like(trace), support)
        d = distances(support.x, support.x)
        typical = _median_distance(d, support.mask)
        best = torch.full_like(typical, float("inf"))
        length, coefficients = typical, torch.zeros_like(y)
        for multiple in LENGTHS:
            kernel = gaussian(d, multiple * typical) * mask * mask.mT
            for penalty in PENALTIES:
                inverse = _inverse(kernel, torch.full_like(typical, penalty))
                dual = inverse @ y
                residual = dual / inverse.diagonal(dim1=1, dim2=2)[..., None]
                error = (residual * mask).square().sum((1, 2))
                better = error < best
                best = torch.where(better, error, best)
                length = torch.where(better, multiple * typical, length)
                coefficients = torch.where(better[:, None, None], dual, coefficients)
        return Dual(coefficients, offset, length, support)

    def predict(self, state: Dual, query: Query) -> Prediction:
        """Kernel times dual coefficients."""
        s = state.support
        if s.kind == "regression":
            kernel = gaussian(distances(query.x, s.x), state.length)
            return Prediction(kernel @ state.coefficients + state.offset)
        scores = linear(query.x, s.x) @ state.coefficients + state.offset
        return Prediction(mask_absent_classes(scores, s.way))


def linear(a: Tensor, b: Tensor) -> Tensor:
    """Inner products [T, n, m]."""
    return a.flatten(2) @ b.flatten(2).mT


def gaussian(d: Tensor, length: Tensor) -> Tensor:
    """exp(-d^2 / (2 length^2)) for d [T, n, m], length [T]."""
    return torch.exp(-0.5 * (d / length[:, None, None]).square())


def _inverse(kernel: Tensor, penalty: Tensor) -> Tensor:
    """(K + penalty I)^-1 in float64."""
    eye = torch.eye(kernel.shape[-1], dtype=torch.float64, device=kernel.device)
    return torch.linalg.inv(kernel.double() + penalty.double()[:, None, None] * eye).to(kernel)


def _median_distance(d: Tensor, mask: Tensor) -> Tensor:
    """Median distance of distinct valid items [T]; 1 where a task has one item."""
    pairs = mask[:, :, None] & mask[:, None]
    pairs = pairs & ~torch.eye(d.shape[-1], dtype=torch.bool, device=d.device)
    median = d.masked_fill(~pairs, float("nan")).flatten(1).nanmedian(dim=1).values
    return torch.where(median > 0, median, torch.ones_like(median))
