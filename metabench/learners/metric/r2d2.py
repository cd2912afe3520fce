"""R2-D2: ridge regression on learned features, differentiated (Bertinetto et al. 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Support, mask_absent_classes
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.knobs import rate
from metabench.learners.metric.base import (
    BATCHES,
    WIDTHS,
    HalveEvery,
    MetaLr,
    MetricLearner,
    TrainQuery,
    TrainWay,
    membership,
)


@dataclass(frozen=True)
class Fitted:
    """Ridge weights [T, F + 1, W or D], the last row an intercept; way [T]."""

    weights: Tensor
    way: Tensor


@LEARNERS.register("r2d2")
@dataclass(eq=False)
class R2D2(MetricLearner[Fitted]):
    """Solves ridge regression on the support's embeddings, and learns through the solution.

    Regularisation, and in classification the scale and shift that turn regression outputs into
    logits, are meta-learned with the embedding. As in the released code the ones that make the
    intercept are a feature like any other, and so regularised; unlike there the squared errors
    are summed as in the paper, not averaged.

    Defaults are those of the released Omniglot runs with 64 filters: 60-way training, Adam at
    5e-3 halved every 2,000 episodes, regularisation 50, scale 10, shift 0. Not taken over are the
    leaky ReLU and the random shot of its training episodes. Regression is not in the paper.
    """

    card = LearnerCard(
        name="r2d2",
        family="metric",
        kinds=("classification", "regression"),
        knobs=(rate("meta_lr", 5e-3, 1), *BATCHES, *WIDTHS, rate("regularisation", 50.0, None)),
        citation="Bertinetto et al. 2019. Meta-learning with Differentiable Closed-form Solvers. "
        "ICLR.",
    )

    train_way: TrainWay = 60
    train_query: TrainQuery = 5
    meta_lr: MetaLr = 5e-3
    halve_every: HalveEvery = 2000
    regularisation: Annotated[float, Field(gt=0, description="lambda at the start")] = 50.0
    scale: Annotated[float, Field(gt=0, description="alpha at the start")] = 10.0

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Regularisation, by its logarithm; in classification scale and shift."""
        parameters = {"log_lambda": torch.tensor(math.log(self.regularisation))}
        if self.info.kind == "classification":
            parameters |= {"scale": torch.tensor(self.scale), "shift": torch.tensor(0.0)}
        return parameters

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Fitted:
        """The ridge solution for one-hot labels or targets."""
        y = membership(support) if support.kind == "classification" else support.y
        mask = support.mask[..., None]
        weights = ridge(with_ones(z) * mask, y * mask, parameters["log_lambda"].exp())
        return Fitted(weights, support.way)

    def scores(self, parameters: Parameters, state: Fitted, z: Tensor) -> Tensor:
        """alpha X W + beta in classification, X W in regression."""
        output = with_ones(z) @ state.weights
        if self.info.kind == "regression":
            return output
        return mask_absent_classes(parameters["scale"] * output + parameters["shift"], state.way)


def ridge(x: Tensor, y: Tensor, strength: Tensor) -> Tensor:
    """(X^T X + lambda I)^-1 X^T Y for x [T, S, F], y [T, S, D]: [T, F, D].

    Rows of zeros have no effect. With fewer items than features it is solved as
    X^T (X X^T + lambda I)^-1 Y by Woodbury's identity.
    """
    items, features = x.shape[1:]
    if items < features:
        return x.mT @ torch.linalg.solve(x @ x.mT + strength * identity(items, x), y)
    return torch.linalg.solve(x.mT @ x + strength * identity(features, x), x.mT @ y)


def identity(size: int, like: Tensor) -> Tensor:
    """The identity matrix, of the dtype and on the device of another tensor."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def with_ones(z: Tensor) -> Tensor:
    """z [T, n, F] with one more feature that is always 1."""
    return torch.cat([z, torch.ones_like(z[..., :1])], dim=-1)
