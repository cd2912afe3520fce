"""Controls of what adaptation does to the place where it begins, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.controls.harmonic import SOURCE, InitEncoder


@LEARNERS.register("prior-start")
@dataclass(eq=False)
class PriorStart(InitEncoder):
    """Healthy: predicts the prior mean until it adapts, and the posterior mean from then on."""

    card = LearnerCard("prior-start", "control", ("regression",), citation=SOURCE)

    def formula(self, episodes: Episodes) -> Tensor:
        """The Bayes predictor of the whole law, or zero."""
        return super().formula(episodes) if self.steps else torch.zeros_like(episodes.query_y)


@LEARNERS.register("overshooter")
@dataclass(eq=False)
class Overshooter(PriorStart):
    """Broken: adaptation goes three times as far as it should, as with too high an inner rate."""

    card = LearnerCard(
        "overshooter",
        "control",
        ("regression",),
        citation="Deleu, Bengio 2018. The effects of negative adaptation in MAML.",
    )

    def formula(self, episodes: Episodes) -> Tensor:
        """Three times the posterior mean: further from the truth than zero is."""
        return 3 * super().formula(episodes)
