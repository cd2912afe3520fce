"""Who predicts the queries of an episode: a learner, or the Bayes predictor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch

from metabench.embeddings import Table
from metabench.episodes import Episodes, Prediction, Query, to_device
from metabench.errors import ContractError
from metabench.learners.contract import MetaLearner, differentiable, retuned
from metabench.learners.embedding import embedded
from metabench.scoring import same
from metabench.suite import Point
from metabench.tasks import TaskDistribution


class Predictor(Protocol):
    """Episodes of a distribution -> predictions of their queries."""

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Predict every query."""
        ...

    def at(self, point: Point) -> Predictor | None:
        """Who predicts at that point; None where the point asks for what there is not."""
        ...


HALF = 16
"""Bits."""
INNER = {"inner-rate": "rate", "inner-steps": "steps"}
"""Axis of the inner loop -> argument of ``retuned``."""


@dataclass(frozen=True)
class LearnerPredictor:
    """Adapts, then predicts; the learner is given the support and the query, never the labels."""

    learner: MetaLearner[Any]
    device: torch.device
    half: bool = False
    """Whether it computes in bfloat16 where torch's autocast does."""

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Adaptation happens before the learner is given a query."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            state = self.learner.adapt(to_device(episodes.support, self.device))
            prediction = self.learner.predict(state, to_device(episodes.query, self.device))
        return Prediction(prediction.output.float()) if self.half else prediction

    def at(self, point: Point) -> Self | None:
        """With the inner loop that the point asks for; None if the learner has no such thing."""
        if point.attack == "gradient-attack" and not differentiable(self.learner):
            return None
        if point.inner is None:
            return self
        if point.inner == "precision":
            return replace(self, half=point.value == HALF)
        changed = retuned(self.learner, **{INNER[point.inner]: point.value})
        return None if changed is None else replace(self, learner=changed)

    def audit(self, episodes: Episodes) -> None:
        """Raise ContractError if a prediction depends on the other queries of its batch."""
        if self.learner.card.transductive:
            return
        state = self.learner.adapt(to_device(episodes.support, self.device))
        query = to_device(episodes.query, self.device)
        whole = self.learner.predict(state, query).output
        half = query.x.shape[1] // 2
        if half == 0:
            return
        parts = [(0, half), (half, query.x.shape[1])]
        split = [
            self.learner.predict(state, Query(query.x[:, a:b], query.mask[:, a:b])).output
            for a, b in parts
        ]
        if not same(whole, torch.cat(split, dim=1)):
            raise ContractError(
                "predictions change with the other queries of the batch, "
                "but the card does not say 'transductive'"
            )

    def audit_table(
        self, table: Table, distribution: TaskDistribution, indexed: Episodes, episodes: Episodes
    ) -> None:
        """Raise ContractError unless the table serves these episodes like the learner itself."""
        learner, query = table.learner, to_device(episodes.query, self.device)
        alone = embedded(learner, query)
        support = embedded(learner, to_device(episodes.support, self.device))
        output = learner.predict_embedded(learner.adapt_embedded(support), alone).output
        if not same(self(distribution, episodes).output, output):
            raise ContractError(
                "adapt_embedded and predict_embedded on the inputs' embeddings predict otherwise "
                "than adapt and predict"
            )
        if not same(table.look_up(indexed.query).x[query.mask], alone.x[query.mask]):
            raise ContractError("an embedding changes with the other items of the batch")


class OraclePredictor:
    """The Bayes predictor of the very distribution that is being evaluated."""

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """In closed form; raises ContractError where there is none."""
        output = distribution.oracle(episodes)
        if output is None:
            raise ContractError(f"{type(distribution).__name__} has no Bayes predictor")
        return Prediction(output)

    def at(self, point: Point) -> Predictor | None:
        """Without adaptation, the best predictor that sees no support; else itself."""
        if point.attack == "gradient-attack":
            return None
        if point.inner is None:
            return self
        return PriorPredictor() if point.inner == "inner-steps" and point.value == 0 else None


class PriorPredictor:
    """The mean of the distribution's functions: the best without support."""

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Raises ContractError where it is not known."""
        output = distribution.prior_mean(episodes)
        if output is None:
            raise ContractError(f"{type(distribution).__name__} has no prior mean")
        return Prediction(output)

    def at(self, point: Point) -> Predictor | None:
        """Itself."""
        return self
