"""The Mahalanobis classifier of Simple CNAPS (Bateni et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Support, mask_absent_classes
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.knobs import batch, rate
from metabench.learners.metric.base import WIDTHS, MetaBatch, MetaLr, MetricLearner, membership


@dataclass(frozen=True)
class Gaussians:
    """Class means [T, W, F], Cholesky factors of their covariances [T, W, F, F]; way [T]."""

    means: Tensor
    factors: Tensor
    way: Tensor


@LEARNERS.register("simple-cnaps")
@dataclass(eq=False)
class SimpleCnaps(MetricLearner[Gaussians]):
    """Classifies by the Mahalanobis distance under a regularised covariance of each class.

    This is the paper's head, not its whole model: there a pretrained ResNet-18 is modulated by
    FiLM layers that a set encoder chooses from the support set; here a plain embedding is
    meta-trained end to end with the head. The optimiser's settings are the paper's (Adam at 5e-4,
    16 episodes a step). A class with one item has no covariance of its own, so that its
    regularised one is half the task's plus the identity.
    """

    card = LearnerCard(
        name="simple-cnaps",
        family="metric",
        kinds=("classification",),
        knobs=(rate("meta_lr", 5e-4, 1), batch("meta_batch", 16), *WIDTHS),
        citation="Bateni et al. 2020. Improved Few-Shot Visual Classification. CVPR.",
    )

    meta_batch: MetaBatch = 16
    meta_lr: MetaLr = 5e-4
    beta: Annotated[float, Field(gt=0, description="weight of the identity in covariances")] = 1.0

    def fit(self, parameters: Parameters, z: Tensor, support: Support) -> Gaussians:
        """Class means and the covariances Q_k of ``class_covariances``."""
        member = membership(support)
        means = member.mT @ z / member.sum(dim=1).clamp_min(1.0)[..., None]
        q = class_covariances(z, member, self.beta)
        return Gaussians(means, torch.linalg.cholesky(q), support.way)

    def scores(self, parameters: Parameters, state: Gaussians, z: Tensor) -> Tensor:
        """-(f - mu_k)^T Q_k^-1 (f - mu_k) / 2; the half is the paper's, not the released code's."""
        difference = z[:, None] - state.means[:, :, None]  # [T, W, Q, F]
        white = torch.linalg.solve_triangular(state.factors, difference.mT, upper=False)
        return mask_absent_classes(-0.5 * white.square().sum(dim=2).mT, state.way)


def class_covariances(z: Tensor, member: Tensor, beta: float) -> Tensor:
    """Q_k = lambda_k Sigma_k + (1 - lambda_k) Sigma + beta I, lambda_k = n_k / (n_k + 1).

    z [T, S, F]; member [T, S, W]; the result [T, W, F, F]. Sigma is the covariance of all the
    task's items about their mean, Sigma_k that of a class.
    """
    own = covariances(z, member)
    task = covariances(z, member.sum(dim=-1, keepdim=True))
    n = member.sum(dim=1)[..., None, None]
    ratio = n / (n + 1)
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    return ratio * own + (1 - ratio) * task + beta * identity


def covariances(z: Tensor, member: Tensor) -> Tensor:
    """Unbiased covariances [T, W, F, F] of the members of W sets; zero with one member or none."""
    n = member.sum(dim=1)
    means = member.mT @ z / n.clamp_min(1.0)[..., None]
    centred = (z[:, None] - means[:, :, None]) * member.mT[..., None]  # [T, W, S, F]
    return centred.mT @ centred / (n - 1).clamp_min(1.0)[..., None, None]
