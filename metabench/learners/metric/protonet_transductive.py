"""Prototypical networks with transductive batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.learners.backbones import Parameters, Statistics
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.metric.base import (
    KNOBS,
    HalveEvery,
    MetricLearner,
    Normalised,
    TrainQuery,
    TrainWay,
)
from metabench.learners.metric.protonet import prototypes, squared_distances


@LEARNERS.register("protonet-transductive")
@dataclass(eq=False)
class TransductiveProtoNet(MetricLearner[Support]):
    """The prototypical network normalised by each episode's own support and query set.

    What implementations become that leave their normalisation in training mode at meta-test. Other
    queries then tell a query about the task, and a subset of the queries is predicted otherwise.
    In meta-training too every episode has statistics of its own. An MLP is normalised as well,
    for without normalisation nothing here would be transductive.
    """

    card = LearnerCard(
        name="protonet-transductive",
        family="metric",
        kinds=("classification",),
        knobs=KNOBS,
        citation="Snell, Swersky, Zemel 2017. Prototypical Networks. NeurIPS. "
        "Bronskill et al. 2020. TaskNorm. ICML (transductive batch normalisation).",
        transductive=True,
    )

    train_way: TrainWay = 60
    train_query: TrainQuery = 5
    halve_every: HalveEvery = 2000
    normalised: Normalised = True

    def norms(self, parameters: Parameters) -> Statistics:
        """None that outlive an episode."""
        return ()

    def embed(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """[T, n, *X] -> [T, n, F], each task by the statistics of its own items."""
        masks = [None] * len(x) if mask is None else mask
        each = zip(x, masks, strict=True)
        return torch.stack([self.embedding(parameters, one, None, m)[0] for one, m in each]), ()

    def forward(
        self, parameters: Parameters, support: Support, query: Query
    ) -> tuple[Tensor, Statistics]:
        """Negative squared distances to the class means."""
        z_support, z_query, used = self.embed_together(parameters, support, query)
        distances = squared_distances(z_query, prototypes(z_support, support))
        return mask_absent_classes(-distances, support.way), used

    def adapt(self, support: Support) -> Support:
        """Nothing can be embedded before the queries are known."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """As in meta-training."""
        return Prediction(self.forward(self.frozen, state, query)[0])
