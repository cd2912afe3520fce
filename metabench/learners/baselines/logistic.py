"""Logistic regression on each task alone, on flattened inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, one_hot
from metabench.learners.baselines.ridge import linear
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner

NEWTON_STEPS, CG_STEPS, HALVINGS = 50, 200, 30
TOLERANCE = 1e-10
"""Length of the gradient, relative to C times that of the inputs, at which a task is solved."""


@dataclass(frozen=True)
class Boundaries:
    """Dual coefficients [T, S, W], intercepts [T, W], -inf for classes without an item; support."""

    coefficients: Tensor
    intercept: Tensor
    support: Support


@LEARNERS.register("logistic-regression")
@dataclass(eq=False)
class LogisticRegression(MetaLearner[Boundaries]):
    """Multinomial, least |w|^2 / 2 + C (sum over items of the cross-entropy), solved exactly.

    The intercepts are not penalised. With two classes this is still the softmax, in which each
    class has weights of its own: half the penalty of the binary form at the same C.
    """

    card = LearnerCard(
        name="logistic-regression",
        family="baseline",
        kinds=("classification",),
        citation="Cox 1958. The regression analysis of binary sequences. JRSS B.",
    )

    C: Annotated[float, Field(gt=0, description="inverse strength of the penalty")] = 1.0

    def adapt(self, support: Support) -> Boundaries:
        """Newton's method in the span of the support set (by the representer theorem)."""
        member = one_hot(support.y, support.max_way) * support.mask[..., None]
        present = member.sum(dim=1) > 0
        pair = support.mask[:, :, None] & support.mask[:, None]
        x = support.x.double()
        kernel = linear(x, x) * pair
        scale, vectors = torch.linalg.eigh(kernel)
        # Coordinates in which inner products are those of the inputs; the last one is constant.
        z = vectors * scale.clamp_min(0).sqrt()[:, None]
        z = torch.cat([z, support.mask[..., None].to(z)], dim=-1)
        objective = _Objective(z, member.double(), present, self.C)
        theta = minimise(objective, torch.zeros_like(z.mT @ objective.y))
        # Where the gradient is zero, w = C X'(y - p).
        coefficients = self.C * objective.residual(theta)
        intercept = theta[:, -1].masked_fill(~present, float("-inf"))
        return Boundaries(coefficients, intercept, support)

    def predict(self, state: Boundaries, query: Query) -> Prediction:
        """Log-odds up to a constant."""
        # Dual sums cancel: single precision would lose what the solution is exact to.
        scores = linear(query.x.double(), state.support.x.double()) @ state.coefficients
        return Prediction((scores + state.intercept[:, None]).to(query.x))


@dataclass(frozen=True)
class _Objective:
    """|theta|^2 / 2 without its last row, plus C times the cross-entropy of z theta [T, S, W].

    z [T, S, K], zero where padded; y [T, S, W] one-hot; present [T, W].
    """

    z: Tensor
    y: Tensor
    present: Tensor
    c: float

    def log_p(self, theta: Tensor) -> Tensor:
        scores = (self.z @ theta).masked_fill(~self.present[:, None], float("-inf"))
        return scores.log_softmax(dim=-1)

    def p(self, theta: Tensor) -> Tensor:
        """Probabilities, zero for padded items."""
        return self.log_p(theta).exp() * self.y.sum(dim=-1, keepdim=True)

    def residual(self, theta: Tensor) -> Tensor:
        return self.y - self.p(theta)

    def penalised(self, theta: Tensor) -> Tensor:
        return torch.cat([theta[:, :-1], torch.zeros_like(theta[:, -1:])], dim=1)

    def value(self, theta: Tensor) -> Tensor:
        log_p = self.log_p(theta).masked_fill(self.y == 0, 0.0)
        return 0.5 * _dot(theta, self.penalised(theta)) - self.c * log_p.sum(dim=(1, 2))

    def gradient(self, theta: Tensor) -> Tensor:
        return self.penalised(theta) - self.c * self.z.mT @ self.residual(theta)

    def curvature(self, p: Tensor, v: Tensor) -> Tensor:
        """Hessian times v where the probabilities are p."""
        u = p * (self.z @ v)
        return self.penalised(v) + self.c * self.z.mT @ (u - p * u.sum(dim=-1, keepdim=True))

    @property
    def preconditioner(self) -> Tensor:
        """Inverse of the Hessian's diagonal at uniform p [T, K, 1]."""
        ways = self.present.sum(dim=-1)
        uniform = (1 / ways * (1 - 1 / ways)).to(self.z)
        diagonal = self.c * uniform[:, None] * self.z.square().sum(dim=1)
        diagonal[:, :-1] += 1
        return 1 / diagonal[..., None].clamp_min(1e-12)


def minimise(f: _Objective, theta: Tensor) -> Tensor:
    """Newton's method with conjugate gradients and halved steps, every task on its own."""
    scale = f.c * _norm(f.z)
    inverse = f.preconditioner
    for _ in range(NEWTON_STEPS):
        g = f.gradient(theta)
        unsolved = _norm(g) > TOLERANCE * scale
        if not unsolved.any():
            break
        direction = _solve(f, f.p(theta), -g, inverse)
        theta = _line_search(f, theta, direction, g, unsolved)
    return theta


def _solve(f: _Objective, p: Tensor, b: Tensor, inverse: Tensor) -> Tensor:
    """Preconditioned conjugate gradients; more exact the nearer b is to zero."""
    x, r = torch.zeros_like(b), b
    s = inverse * r
    d, rho = s, _dot(r, s)
    size = _norm(b)
    goal = size * (size / f.c).sqrt().clamp(1e-6, 0.1)
    for _ in range(CG_STEPS):
        hd = f.curvature(p, d)
        bend = _dot(d, hd)
        # A shift of all intercepts changes nothing: along it lies only rounding.
        active = (_norm(r) > goal) & (bend > 1e-14 * _dot(d, d))
        if not active.any():
            break
        alpha = torch.where(active, rho / bend.where(active, 1.0), 0.0)[:, None, None]
        x, r = x + alpha * d, r - alpha * hd
        s = inverse * r
        new = _dot(r, s)
        d = s + torch.where(active, new / rho.where(active, 1.0), 0.0)[:, None, None] * d
        rho = new
    return x


def _line_search(f: _Objective, theta: Tensor, direction: Tensor, g: Tensor, go: Tensor) -> Tensor:
    """Halve each task's step until the value falls as it should (Armijo 1966)."""
    value, slope = f.value(theta), _dot(g, direction)
    size = go.to(theta)
    slack = 1e-12 * value.abs()
    for _ in range(HALVINGS):
        moved = f.value(theta + size[:, None, None] * direction)
        bad = moved > value + 1e-4 * size * slope + slack
        if not bad.any():
            break
        size = torch.where(bad, size / 2, size)
    return theta + size[:, None, None] * direction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2))


def _norm(a: Tensor) -> Tensor:
    return _dot(a, a).sqrt()
