"""Controls that change along meta-training, in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.learners.contract import LEARNERS, LearnerCard, StepLog, TaskStream
from metabench.learners.controls.harmonic import SOURCE, Memorizer

LEARNS, CRAMS = 4.0, 16.0
"""Meta-steps after which all but 1/e of the law is learned, and all but 1/e known by heart."""


@LEARNERS.register("scholar")
@dataclass(eq=False)
class Scholar(Memorizer):
    """Healthy: with every meta-step nearer to the Bayes predictor of the law, and to no task."""

    card = LearnerCard("scholar", "control", ("regression",), citation=SOURCE)
    step: int = field(default=0, init=False)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """A step at a time."""
        yield from super().meta_fit(tasks, seed) if self.known is None else ()
        while True:
            self.step = tasks.step + 1
            yield StepLog(math.exp(-self.step / LEARNS))

    def formula(self, episodes: Episodes) -> Tensor:
        """The share that is learned of the law's posterior mean."""
        law = self.oracle(self.known and self.known.law(), episodes)
        return -math.expm1(-self.step / LEARNS) * law

    def state_dict(self) -> dict[str, Tensor]:
        """The family and the meta-step."""
        return {**super().state_dict(), "step": torch.tensor(self.step)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Both."""
        super().load_state_dict(state)
        self.step = int(state["step"])


@LEARNERS.register("crammer")
@dataclass(eq=False)
class Crammer(Scholar):
    """Broken: learns the law first, and then more and more of its meta-training tasks instead."""

    card = LearnerCard(
        "crammer",
        "control",
        ("regression",),
        citation="Gao et al. 2022. Scaling Laws for Reward Model Overoptimization.",
    )

    def formula(self, episodes: Episodes) -> Tensor:
        """From the law's posterior mean to that of the tasks that it knows."""
        learned, crammed = (-math.expm1(-self.step / pace) for pace in (LEARNS, CRAMS))
        by_heart = self.oracle(self.known, episodes)
        return (1 - crammed) * super().formula(episodes) + crammed * learned * by_heart
