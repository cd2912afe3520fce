"""A Gaussian process on a learned embedding (Patacchiola et al. 2020; Harrison et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes, Support, mask_absent_classes, one_hot
from metabench.learners.backbones import Parameters, Statistics
from metabench.learners.backbones.mlp import MLP
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.knobs import rate, width
from metabench.learners.metric.base import BATCHES, MetaLr, MetricLearner, classes_present

JITTER = 1e-4
"""Least variance of the noise: the Gram matrix of float32 embeddings stays positive definite."""


@dataclass(frozen=True)
class Posterior:
    """The support's embeddings z [T, S, F], the Gram matrix's Cholesky factor [T, S, S], the
    factor's solution of the targets [T, S, W or D]; mask [T, S], way [T].
    """

    z: Tensor
    factor: Tensor
    solved: Tensor
    mask: Tensor
    way: Tensor


@LEARNERS.register("deep-kernel")
@dataclass(eq=False)
class DeepKernel(MetricLearner[Posterior]):
    """Embedding, kernel and noise are meta-learned by maximum likelihood; a task is conditioned on.

    ``objective`` says which likelihood of a task: ``marginal`` that of all its items under the
    prior (deep kernel transfer, Patacchiola et al. equation 4), ``predictive`` that of the queries
    under the posterior (ALPaCA, Harrison et al. equation 8). With the linear kernel the process is
    Bayesian linear regression on the embedding, as in ALPaCA, here with a prior mean of zero and
    the identity as its precision, both of which the last layer can take up.

    Classes are regressed as labels of 1 and -1, one process a class with the same kernel. Defaults
    are those of the released deep kernel transfer code, an MLP 40-40 and a Gaussian kernel in
    regression, a linear kernel in classification, Adam at 1e-3; but 25 tasks a step in regression
    where it has one.
    """

    card = LearnerCard(
        name="deep-kernel",
        family="metric",
        kinds=("classification", "regression"),
        knobs=(
            rate("meta_lr", 1e-3, 1),
            *BATCHES,
            width("hidden", 40, "regression"),
            width("filters", 64, "classification"),
        ),
        citation="Patacchiola et al. 2020. Bayesian Meta-Learning for the Few-Shot Setting via "
        "Deep Kernels. NeurIPS.",
    )

    meta_lr: MetaLr = 1e-3
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 40
    kernel: Annotated[
        Literal["linear", "rbf"] | None,
        Field(description="of the embeddings; None: rbf in regression, else linear"),
    ] = None
    objective: Annotated[
        Literal["marginal", "predictive"], Field(description="likelihood that training maximises")
    ] = "marginal"
    noise: Annotated[float, Field(gt=0, description="standard deviation at the start")] = 0.3
    spread: Annotated[
        float, Field(ge=0, description="an MLP's first biases are uniform on +- this at the start")
    ] = 1.0

    def head(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Log variances of noise and kernel, for the Gaussian its log length; first biases.

        With biases of zero, as elsewhere here, an MLP of one input would have every kink at 0. A
        spread of 1 is what torch's layers, and so the released code, have there.
        """
        parameters = {
            "log_noise": torch.tensor(2 * math.log(self.noise)),
            "log_scale": torch.tensor(0.0),
        }
        if self.stationary:
            parameters["log_length"] = torch.tensor(0.5 * math.log(self.embedding.features))
        if isinstance(self.embedding, MLP) and not self.embedding.normalised:
            uniform = torch.rand(self.embedding.hidden[0], generator=generator)
            parameters["layer0.bias"] = self.spread * (2 * uniform - 1)
        return parameters

    @property
    def stationary(self) -> bool:
        """Whether the kernel is the Gaussian."""
        return (self.kernel or ("rbf" if self.info.kind == "regression" else "linear")) == "rbf"

    def covariance(self, parameters: Parameters, a: Tensor, b: Tensor) -> Tensor:
        """Prior covariance of embeddings [T, n, F] and [T, m, F]: [T, n, m]."""
        scale = parameters["log_scale"].exp()
        if not self.stationary:
            return scale * a @ b.mT / a.shape[-1]
        squares = a.square().sum(-1)[..., None] + b.square().sum(-1)[:, None] - 2 * a @ b.mT
        return scale * (-0.5 * squares.clamp_min(0) * (-2 * parameters["log_length"]).exp()).exp()

    def variance(self, parameters: Parameters, z: Tensor) -> Tensor:
        """Prior variance of embeddings [T, n, F]: [T, n]."""
        scale = parameters["log_scale"].exp()
        return scale * (torch.ones_like(z[..., 0]) if self.stationary else z.square().mean(-1))

    def noise_variance(self, parameters: Parameters) -> Tensor:
        """Of a label."""
        return parameters["log_noise"].exp() + JITTER

    def factor(self, parameters: Parameters, z: Tensor, mask: Tensor) -> Tensor:
        """Cholesky factor [T, n, n] of the noisy labels' covariance; the identity for padding."""
        pair = mask[:, :, None] & mask[:, None]
        gram = self.covariance(parameters, z, z) * pair
        noise = torch.where(mask, self.noise_variance(parameters), 1.0)
        return torch.linalg.cholesky(gram + torch.diag_embed(noise))

    def targets(self, y: Tensor, mask: Tensor, ways: int) -> Tensor:
        """Labels 1 and -1 [T, n, W], or targets [T, n, D]; 0 where padded."""
        y = 2 * one_hot(y, ways) - 1 if self.info.kind == "classification" else y
        return y * mask[..., None]

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Posterior:
        """Condition the process on the support."""
        ways = support.max_way
        factor = self.factor(parameters, z, support.mask)
        y = self.targets(support.y, support.mask, ways)
        solved = torch.linalg.solve_triangular(factor, y, upper=False)
        return Posterior(z, factor, solved, support.mask, support.way)

    def posterior(
        self, parameters: Parameters, state: Posterior, z: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean [T, Q, W or D] and variance [T, Q] of noisy labels.

        Rasmussen and Williams 2006, equations 2.25 and 2.26.
        """
        cross = self.covariance(parameters, state.z, z) * state.mask[..., None]
        half = torch.linalg.solve_triangular(state.factor, cross, upper=False)
        variance = self.variance(parameters, z) - half.square().sum(1)
        return half.mT @ state.solved, variance.clamp_min(0) + self.noise_variance(parameters)

    def scores(self, parameters: Parameters, state: Posterior, z: Tensor) -> Tensor:
        """The posterior mean."""
        mean, _ = self.posterior(parameters, state, z)
        return mean if self.info.kind == "regression" else mask_absent_classes(mean, state.way)

    def meta_loss(self, parameters: Parameters, episodes: Episodes) -> tuple[Tensor, Statistics]:
        """Negative log likelihood an item, the mean over processes and tasks."""
        support, query = episodes.support, episodes.query
        z_support, z_query, used = self.embed_together(parameters, support, query)
        ways = support.max_way
        present = torch.ones_like(support.way)[:, None].bool()
        if self.info.kind == "classification":
            present = classes_present(support.way, ways)
        if self.objective == "predictive":
            y = self.targets(episodes.query_y, query.mask, ways)
            mean, variance = self.posterior(
                parameters, self.fit(parameters, z_support, support), z_query
            )
            each = (y - mean).square() / variance[..., None] + variance.log()[..., None]
            losses = (each * query.mask[..., None]).sum(1) / query.mask.sum(1, keepdim=True)
        else:
            z, mask = torch.cat([z_support, z_query], 1), torch.cat([support.mask, query.mask], 1)
            y = self.targets(torch.cat([support.y, episodes.query_y], 1), mask, ways)
            factor = self.factor(parameters, z, mask)
            fitted = torch.linalg.solve_triangular(factor, y, upper=False).square().sum(1)
            volume = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
            losses = (fitted + volume) / mask.sum(1, keepdim=True)
        losses = 0.5 * (losses + math.log(2 * math.pi))
        present = present.expand_as(losses)
        return (losses * present).sum() / present.sum(), used
