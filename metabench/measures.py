"""What is measured at a point beside the score: agreement, halves, distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from metabench.conditions import INTERVENTIONS
from metabench.episodes import Episodes, Prediction
from metabench.predictors import Predictor
from metabench.records import IN_DISTRIBUTION
from metabench.rng import Address
from metabench.scoring import agreement, distance, halves, mean_over, query_scores, require_fit
from metabench.suite import Point
from metabench.tasks import TaskDistribution, sample
from metabench.tasks.functions import FunctionFamily

NO_ADAPTATION = "no-adaptation"
"""The role of the condition whose risk is compared with that in distribution, query by query."""


@dataclass(frozen=True)
class Measures:
    """Which measures an evaluation takes."""

    metric: str
    by_halves: bool = False
    """Whether in distribution and without adaptation the queries are scored in two halves."""
    finite: FunctionFamily | None = None
    """The finite set of meta-training tasks, for the distance to its Bayes predictor."""

    @classmethod
    def of(cls, metric: str, train: TaskDistribution, points: tuple[Point, ...]) -> Measures:
        """As the points ask."""
        finite = isinstance(train, FunctionFamily) and train.tasks is not None
        return cls(
            metric,
            any(p.role == NO_ADAPTATION for p in points),
            train if finite and isinstance(train, FunctionFamily) else None,
        )

    def take(
        self,
        predictor: Predictor,
        point: Point,
        episodes: Episodes,
        address: Address,
        indices: range,
    ) -> Mapping[str, Tensor]:
        """Metric -> one number an episode [T]; raises ContractError as ``require_fit`` does."""
        prediction = predictor(point.distribution, episodes)
        if point.intervention is not None:
            followed = self._followed(predictor, point, address, indices)
            if followed is not None:
                return {"agreement": agreement(followed, prediction, episodes)}
        scores = query_scores(prediction, episodes)
        values = {self.metric: mean_over(episodes.query.mask, scores)}
        if self.by_halves and (point.condition == IN_DISTRIBUTION or point.role == NO_ADAPTATION):
            a, b = halves(episodes.query.mask)
            values |= {"half-a": mean_over(a, scores), "half-b": mean_over(b, scores)}
        if self.finite is not None and point.condition == IN_DISTRIBUTION:
            values |= self._distances(require_fit(prediction, episodes), episodes)
        return values

    def _followed(
        self, predictor: Predictor, point: Point, address: Address, indices: range
    ) -> Prediction | None:
        """What the predictions ought to be, if the intervention knows."""
        setting = point.setting(address, indices)
        intervention = INTERVENTIONS.get(setting.name)
        if not intervention.known:
            return None
        before = sample(point.distribution, point.shape, setting.address, indices)
        output = require_fit(predictor(point.distribution, before), before)
        return Prediction(intervention.followed(output, setting))

    def _distances(self, output: Tensor, episodes: Episodes) -> Mapping[str, Tensor]:
        """From the Bayes predictors of the whole law and of the finite set of tasks."""
        assert self.finite is not None
        bayes, discrete = self.finite.law().oracle(episodes), self.finite.oracle(episodes)
        if bayes is None or discrete is None:
            return {}
        return {
            "distance-bayes": distance(output, bayes, episodes),
            "distance-dmmse": distance(output, discrete, episodes),
            "distance-bayes-dmmse": distance(bayes, discrete, episodes),
        }
