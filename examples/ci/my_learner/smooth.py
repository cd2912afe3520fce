"""Gaussian-process regression of every task by itself."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from metabench import LearnerCard, MetaLearner, Prediction
from my_learner.kernel import kernel


@dataclass(eq=False)
class Smooth(MetaLearner):
    """The posterior mean under a squared-exponential kernel (Rasmussen and Williams 2006, 2.25)."""

    card = LearnerCard("smooth", "metric", ("regression",))
    length: Annotated[float, Field(gt=0, description="length scale of the kernel")] = 0.7
    noise: Annotated[float, Field(gt=0, description="SD of the targets' noise")] = 0.2

    def adapt(self, support):
        """Weights of the support points; x [T, S, D], y [T, S, O]."""
        real = support.mask[:, :, None] * support.mask[:, None]
        among = kernel(support.x, support.x, self.length) * real
        among = among + self.noise**2 * torch.eye(among.shape[-1], device=among.device)
        targets = support.y * support.mask[..., None]
        return support, torch.linalg.solve(among, targets)

    def predict(self, state, query):
        """Of every query by itself."""
        support, weights = state
        between = kernel(query.x, support.x, self.length) * support.mask[:, None]
        return Prediction(between @ weights)
