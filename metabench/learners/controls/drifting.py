"""Controls of learning under drift on harmonic series: one that forgets, and one that sleeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, concatenate
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner
from metabench.tasks.harmonics import Harmonics


@dataclass(frozen=True)
class Moments:
    """Weighted sums over items: of features times features [T, F, F] and times target [T, F]."""

    square: Tensor
    cross: Tensor


@LEARNERS.register("forgetting-bayes")
@dataclass(eq=False)
class ForgettingBayes(MetaLearner[Moments]):
    """Healthy: the right prior, and an item weighs ``keep`` times as much as the one after it."""

    card = LearnerCard(
        "forgetting-bayes",
        "control",
        ("regression",),
        citation="Ljung, Soderstrom 1983. Theory and Practice of Recursive Identification.",
        sequential=True,
    )
    keep: Annotated[float, Field(gt=0, le=1, description="of an item's weight, at the next")] = 0.9

    def adapt(self, support: Support) -> Moments:
        """From nothing."""
        size = Harmonics().features(support.x[:1, :1]).shape[-1]
        square = torch.zeros(support.tasks, size, size, dtype=torch.float64)
        device = support.x.device
        return self.observe(Moments(square.to(device), square[..., 0].to(device)), support)

    def observe(self, state: Moments, support: Support) -> Moments:
        """Let what is known fade, and add the items in their order."""
        mask = support.mask.double()
        newer = mask.flip(1).cumsum(1).flip(1) - mask
        weight = mask * self.keep**newer
        kept = self.keep ** mask.sum(1)
        phi = features(support.x)
        return Moments(
            kept[:, None, None] * state.square + (phi * weight[..., None]).mT @ phi,
            kept[:, None] * state.cross
            + (phi * (weight * support.y.double().squeeze(-1))[..., None]).sum(1),
        )

    def predict(self, state: Moments, query: Query) -> Prediction:
        """The posterior mean under the prior of meta-training."""
        eye = torch.eye(state.cross.shape[-1], dtype=torch.float64, device=query.x.device)
        noisy = state.square + Harmonics().noise ** 2 * eye
        weights = torch.linalg.solve(noisy, state.cross[..., None])
        return Prediction((features(query.x) @ weights).float())


def features(x: Tensor) -> Tensor:
    """Of the harmonics that are meta-trained on [T, n, F], on the device of x."""
    return Harmonics().features(x.cpu()).to(x.device)


@dataclass(frozen=True)
class Asleep:
    """The support that predictions rest on, the latest items, and how many came since."""

    support: Support
    latest: Support
    since: int


@LEARNERS.register("sleeper")
@dataclass(eq=False)
class Sleeper(MetaLearner[Asleep]):
    """Broken: adapts to the latest items by the right prior, but only after every ``every``."""

    card = LearnerCard(
        "sleeper",
        "control",
        ("regression",),
        citation="Nassar et al. 2010. An approximately Bayesian delta-rule model. J. Neuroscience.",
        sequential=True,
    )
    every: Annotated[int, Field(ge=1, description="items between two adaptations")] = 500

    def adapt(self, support: Support) -> Asleep:
        """To all of it."""
        return Asleep(support, support, 0)

    def observe(self, state: Asleep, support: Support) -> Asleep:
        """Keep as many of the latest items as there were first; adapt to them if it is time."""
        size = state.latest.x.shape[1]
        both = concatenate(state.latest, support)
        latest = replace(both, x=both.x[:, -size:], y=both.y[:, -size:], mask=both.mask[:, -size:])
        since = state.since + support.x.shape[1]
        if since < self.every:
            return Asleep(state.support, latest, since)
        return Asleep(latest, latest, 0)

    def predict(self, state: Asleep, query: Query) -> Prediction:
        """The posterior mean of what it adapted to."""
        phi, y = features(state.support.x) * state.support.mask[..., None], state.support.y.double()
        eye = torch.eye(phi.shape[1], dtype=torch.float64, device=phi.device)
        gram = phi @ phi.mT + Harmonics().noise ** 2 * eye
        solved = torch.linalg.solve(gram, y * state.support.mask[..., None])
        return Prediction((features(query.x) @ (phi.mT @ solved)).float())
