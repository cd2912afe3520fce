"""Ridge on each task alone: kernel ridge, ridge on Fourier features, and a ridge classifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.learners.baselines.nearest_neighbour import distances
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner

LENGTHS = (0.25, 0.5, 1.0, 2.0)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HARMONICS = 8
CITATION = "Hoerl, Kennard 1970. Ridge regression. Technometrics."


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

    The candidate lengths are multiples of the median distance between support inputs.
    Classification: linear kernel on one-hot labels, penalty relative to the kernel's mean diagonal.
    """

    card = LearnerCard(
        name="ridge",
        family="baseline",
        kinds=("classification", "regression"),
        citation=CITATION,
    )

    penalty: Annotated[float, Field(gt=0, description="relative penalty, classification")] = 1.0

    def adapt(self, support: Support) -> Dual:
        """Solve every task in closed form."""
        if support.kind == "regression":
            d = distances(support.x, support.x)
            typical = _median_distance(d, support.mask)
            lengths = (multiple * typical for multiple in LENGTHS)
            return leave_one_out(((gaussian(d, x), x) for x in lengths), support, intercept=True)
        y, offset, both = _centred(one_hot(support.y, support.max_way), support.mask)
        kernel = linear(support.x, support.x) * both
        trace = kernel.diagonal(dim1=1, dim2=2).sum(-1) / support.mask.sum(1)
        inverse = _inverse(kernel, self.penalty * trace.clamp_min(1e-6))
        return Dual(inverse @ y, offset, torch.ones_like(trace), support)

    def predict(self, state: Dual, query: Query) -> Prediction:
        """Kernel times dual coefficients."""
        s = state.support
        if s.kind == "regression":
            kernel = gaussian(distances(query.x, s.x), state.length)
            return Prediction(kernel @ state.coefficients + state.offset)
        scores = linear(query.x, s.x) @ state.coefficients + state.offset
        return Prediction(mask_absent_classes(scores, s.way))


@LEARNERS.register("fourier-ridge")
class FourierRidge(MetaLearner[Dual]):
    """Ridge on sin kx and cos kx, k = 1..8, all weights alike a priori; regression only.

    The flat-prior counterpart of a learner that knows which harmonics are likely: it has the
    right features and no prior over them. The penalty is chosen per task by leave-one-out error.
    """

    card = LearnerCard(
        name="fourier-ridge", family="baseline", kinds=("regression",), citation=CITATION
    )

    def adapt(self, support: Support) -> Dual:
        """Solve every task in closed form."""
        kernel = fourier(support.x, support.x)
        unused = kernel.new_ones(len(kernel))
        return leave_one_out([(kernel, unused)], support, intercept=False)

    def predict(self, state: Dual, query: Query) -> Prediction:
        """Kernel times dual coefficients."""
        kernel = fourier(query.x, state.support.x)
        return Prediction(kernel @ state.coefficients + state.offset)


def leave_one_out(
    kernels: Iterable[tuple[Tensor, Tensor]], support: Support, *, intercept: bool
) -> Dual:
    """Of several kernels [T, S, S], each with its length [T], the best for each task, penalised.

    The leave-one-out residual is a_i / G^-1_ii (Rasmussen and Williams 2006, equation 5.12).
    """
    y, offset, both = _centred(support.y, support.mask)
    if not intercept:
        y, offset = support.y * support.mask[..., None], torch.zeros_like(offset)
    dual = length = None
    best = torch.full((support.tasks,), float("inf"), device=y.device)
    for kernel, its_length in kernels:
        for penalty in PENALTIES:
            inverse = _inverse(kernel * both, torch.full_like(best, penalty))
            found = inverse @ y
            residual = found / inverse.diagonal(dim1=1, dim2=2)[..., None]
            error = (residual * support.mask[..., None]).square().sum((1, 2))
            better = error < best
            best = torch.where(better, error, best)
            length = its_length if length is None else torch.where(better, its_length, length)
            dual = found if dual is None else torch.where(better[:, None, None], found, dual)
    if dual is None or length is None:
        raise ValueError("there must be a kernel to choose")
    return Dual(dual, offset, length, support)


def linear(a: Tensor, b: Tensor) -> Tensor:
    """Inner products [T, n, m]."""
    return a.flatten(2) @ b.flatten(2).mT


def gaussian(d: Tensor, length: Tensor) -> Tensor:
    """exp(-d^2 / (2 length^2)) for d [T, n, m], length [T]."""
    return torch.exp(-0.5 * (d / length[:, None, None]).square())


def fourier(a: Tensor, b: Tensor) -> Tensor:
    """Mean over inputs and k = 1..8 of cos k(a - b): [T, n, m]."""
    difference = a.flatten(2)[:, :, None] - b.flatten(2)[:, None]
    k = torch.arange(1, HARMONICS + 1, device=a.device)
    return torch.cos(difference[..., None] * k).mean(dim=(-1, -2))


def _centred(y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Targets less their mean, zero where padded; the mean [T, 1, L]; the mask of pairs."""
    weight = mask[..., None].to(y.dtype)
    offset = (y * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return (y - offset) * weight, offset, weight * weight.mT


def _inverse(kernel: Tensor, penalty: Tensor) -> Tensor:
    """(K + penalty I)^-1, computed in float64."""
    eye = torch.eye(kernel.shape[-1], dtype=torch.float64, device=kernel.device)
    return torch.linalg.inv(kernel.double() + penalty.double()[:, None, None] * eye).to(kernel)


def _median_distance(d: Tensor, mask: Tensor) -> Tensor:
    """Median distance of distinct valid items [T]; 1 where a task has one item."""
    pairs = mask[:, :, None] & mask[:, None]
    pairs = pairs & ~torch.eye(d.shape[-1], dtype=torch.bool, device=d.device)
    median = d.masked_fill(~pairs, float("nan")).flatten(1).nanmedian(dim=1).values
    return torch.where(median > 0, median, torch.ones_like(median))
