"""Controls of what is set by hand, in closed form: gradient descent on linear regression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes
from metabench.learners.contract import LEARNERS, LearnerCard, StepLog, TaskStream
from metabench.learners.controls.harmonic import Closed
from metabench.learners.knobs import rate

SOURCE = "LeCun, Kanter, Solla 1991. Eigenvalues of Covariance Matrices. Phys. Rev. Lett. 66."
STEPS = 100
BATCH = 256
"""Tasks whose steepest curvature is looked at."""
NOISE = 0.5
"""Deviation of the targets that the posterior reckons with; that of ``linear``."""
Rate = Annotated[float, Field(gt=0, description="times 1 / lambda_max")]


class Descent(Closed):
    """``STEPS`` gradient steps from 0 on the negative log-posterior of linear weights."""

    rate: float

    def formula(self, episodes: Episodes) -> Tensor:
        """w_T = sum_i (1 - (1 - eta l_i)^T) / l_i u_i u_i' b, of curvature A and slope b."""
        curvature, slope = normal_equations(episodes)
        values, vectors = torch.linalg.eigh(curvature)
        step = self.rate / self.steepest(values)
        reached = (1 - (1 - step * values) ** STEPS) / values
        weights = vectors @ (reached[..., None] * (vectors.mT @ slope))
        return (episodes.query.x.double() @ weights).float()

    def steepest(self, values: Tensor) -> Tensor:
        """The curvature [T, 1], or one for all, that rates are measured by; ``values`` [T, D]."""
        raise NotImplementedError


def normal_equations(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """X'X / noise^2 + I [T, D, D] and X'y / noise^2 [T, D, 1], float64."""
    support = episodes.support
    x = (support.x * support.mask[..., None]).double()
    eye = torch.eye(x.shape[-1], dtype=torch.float64)
    return x.mT @ x / NOISE**2 + eye, x.mT @ support.y.double() / NOISE**2


@LEARNERS.register("edge-of-stability")
@dataclass(eq=False)
class EdgeOfStability(Descent):
    """Broken: its inner rate is 1.9 / lambda_max, and from 2 / lambda_max on it diverges.

    lambda_max is the steepest curvature of any task met in meta-training. Where it is set the
    learner is fine; half of what others would set explodes.
    """

    card = LearnerCard(
        "edge-of-stability",
        "control",
        ("regression",),
        citation=SOURCE,
        knobs=(rate("rate", 1.9, 0),),
    )
    rate: Rate = 1.9
    known: Tensor = field(default_factory=lambda: torch.ones(()).double(), init=False)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Look at the curvature of some tasks."""
        curvature = normal_equations(tasks.next(min(BATCH, tasks.budget.tasks)))[0]
        self.known = torch.linalg.eigvalsh(curvature).max().cpu()
        yield StepLog(0.0)

    def steepest(self, values: Tensor) -> Tensor:
        """The same for all tasks."""
        return self.known

    def state_dict(self) -> dict[str, Tensor]:
        """The steepest curvature."""
        return {"known": self.known}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The steepest curvature."""
        self.known = state["known"].double()


@LEARNERS.register("normalised-descent")
@dataclass(eq=False)
class NormalisedDescent(Descent):
    """Healthy: each task's own curvature sets the rate, so that whatever is chosen converges."""

    card = LearnerCard(
        "normalised-descent",
        "control",
        ("regression",),
        citation=SOURCE,
        knobs=(rate("rate", 0.19, 0),),
    )
    rate: Rate = 0.19

    def steepest(self, values: Tensor) -> Tensor:
        """Each task's own."""
        return values[:, -1:]


@LEARNERS.register("idle-knob")
@dataclass(eq=False)
class IdleKnob(NormalisedDescent):
    """Nothing to find: its knob does nothing, so that every setting scores the same."""

    card = LearnerCard(
        "idle-knob", "control", ("regression",), citation=SOURCE, knobs=NormalisedDescent.card.knobs
    )

    def formula(self, episodes: Episodes) -> Tensor:
        """The posterior mean."""
        curvature, slope = normal_equations(episodes)
        return (episodes.query.x.double() @ torch.linalg.solve(curvature, slope)).float()
