"""Implicit MAML (Rajeswaran, Finn, Kakade and Levine 2019): no path to differentiate through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad, grad_and_value, vjp

from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo
from metabench.learners.gradient.base import OUTER, WIDTHS, GradientLearner, Items, Positive
from metabench.learners.knobs import around, rate


@LEARNERS.register("imaml")
@dataclass(eq=False)
class Imaml(GradientLearner):
    """The inner problem is L_support(phi) + lambda/2 |phi - theta|^2 (equation 3).

    At its minimum dphi/dtheta is (I + H/lambda)^-1, H the Hessian of the support loss at phi (lemma
    1), so the meta-gradient needs where the inner loop ended and not its path. Conjugate gradients
    solve for it (section 3.1), from the first-order meta-gradient on. Defaults in
    classification are the paper's for 5-way Omniglot; for 20-way it takes 25 inner steps. The
    meta-test solves the same inner problem with the same steps. The authors' code departs from
    these equations (its matrix is 2 I + H / (lambda + 10), its inner loop is plain gradient descent
    and one step towards theta). The paper has no sinusoids; the defaults in regression are ours.
    """

    card = LearnerCard(
        name="imaml",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=(
            rate("inner_lr", 0.01, 0, "regression"),
            rate("inner_lr", 0.1, 0, "classification"),
            around("inner_steps", 16, 2),
            rate("strength", 0.1, None, "regression"),
            rate("strength", 2.0, None, "classification"),
            *OUTER,
            *WIDTHS,
        ),
        citation="Rajeswaran, Finn, Kakade, Levine 2019. Meta-Learning with Implicit Gradients. "
        "NeurIPS.",
    )

    inner_lr: Annotated[
        Positive | None, Field(description="inner rate; None: 0.01 regression, 0.1 classification")
    ] = None
    inner_steps: Annotated[int, Field(ge=1, description="inner steps in meta-training")] = 16
    eval_steps: Annotated[
        int | None, Field(ge=1, description="inner steps at meta-test; None: as in meta-training")
    ] = None
    strength: Annotated[
        Positive | None, Field(description="lambda; None: 0.1 regression, 2 classification")
    ] = None
    cg_steps: Annotated[int, Field(ge=0, description="steps of conjugate gradients")] = 5

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the initialisation."""
        super().setup(info, seed, device)
        regression = info.kind == "regression"
        self.lr = self.inner_lr or (0.01 if regression else 0.1)
        self.steps_at_test = self.eval_steps or self.inner_steps
        self.pull = self.strength or (0.1 if regression else 2.0)

    @property
    def second_order(self) -> bool:
        """Nothing is differentiated through the inner loop."""
        return False

    def slope(self, meta: Parameters, fast: Parameters, support: Items) -> dict[str, Tensor]:
        """The gradient of the regularised support loss."""
        gradients = super().slope(meta, fast, support)
        return {k: g + self.pull * (fast[k] - meta[k]) for k, g in gradients.items()}

    def task_gradient(
        self, meta: Parameters, support: Items, query: Items
    ) -> tuple[dict[str, Tensor], Tensor]:
        """(I + H/lambda)^-1 times the query gradient, both at the end of the inner loop."""
        with torch.no_grad():
            end = self.inner_loop(meta, support, self.inner_steps)

        def query_loss(fast: Parameters) -> Tensor:
            return self.query_loss(meta, fast, support, query)

        def support_loss(fast: Parameters) -> Tensor:
            return self.network.loss({**meta, **fast}, *support)[0]

        gradient: Callable[..., Any] = grad_and_value(query_loss)
        outer, loss = gradient(end)
        # H is symmetric, so the transposed product is the product.
        hessian: Callable[..., Any] = vjp(grad(support_loss), end)[1]

        def matrix(v: dict[str, Tensor]) -> dict[str, Tensor]:
            product = hessian(v)[0]
            return {k: x + product[k] / self.pull for k, x in v.items()}

        return conjugate_gradients(matrix, outer, self.cg_steps), loss


def conjugate_gradients(
    matrix: Callable[[dict[str, Tensor]], dict[str, Tensor]], b: dict[str, Tensor], steps: int
) -> dict[str, Tensor]:
    """``steps`` towards the x with ``matrix``(x) = b, from x = b; the matrix is symmetric.

    Nothing changes any more from the first direction on along which the curvature isn't positive.
    """
    image = matrix(b)
    x, residual = b, {k: v - image[k] for k, v in b.items()}
    direction, square = residual, dot(residual, residual)
    going = square > 0
    for _ in range(steps):
        image = matrix(direction)
        curvature = dot(direction, image)
        going = going & (curvature > 0) & (square > 0)
        length = torch.where(going, square / torch.where(going, curvature, 1.0), 0.0)
        x = {k: v + length * direction[k] for k, v in x.items()}
        residual = {k: r - length * image[k] for k, r in residual.items()}
        before, square = square, dot(residual, residual)
        turn = torch.where(going, square / torch.where(going, before, 1.0), 0.0)
        direction = {k: r + turn * direction[k] for k, r in residual.items()}
    return x


def dot(a: Parameters, b: Parameters) -> Tensor:
    """Inner product over all parameters."""
    return torch.stack([(v * b[k]).sum() for k, v in a.items()]).sum()
