"""Learners that misbehave, for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import torch

from metabench import LearnerCard, MetaLearner, Prediction, Query, StepLog, Support, TaskStream


class Mean(MetaLearner[Any]):
    """Predicts the mean of the support targets."""

    card = LearnerCard(name="mean", family="other", kinds=("regression",))

    def adapt(self, support: Support) -> torch.Tensor:
        weight = support.mask[..., None]
        return (support.y * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)

    def predict(self, state: torch.Tensor, query: Query) -> Prediction:
        return Prediction(state.expand(-1, query.x.shape[1], -1))


class Raises(Mean):
    card = LearnerCard(name="raises", family="other", kinds=("regression",))

    def adapt(self, support: Support) -> torch.Tensor:
        raise RuntimeError("no such luck")


class NaN(Mean):
    card = LearnerCard(name="nan", family="other", kinds=("regression",))

    def predict(self, state: torch.Tensor, query: Query) -> Prediction:
        return Prediction(super().predict(state, query).output * float("nan"))


class Diverges(Mean):
    card = LearnerCard(name="diverges", family="other", kinds=("regression",))

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        tasks.next(1)
        yield StepLog(1.0)
        yield StepLog(float("inf"))


class Crashes(Mean):
    card = LearnerCard(name="crashes", family="other", kinds=("regression",))

    def adapt(self, support: Support) -> torch.Tensor:
        os._exit(9)


class Slow(Mean):
    card = LearnerCard(name="slow", family="other", kinds=("regression",))

    def __init__(self, pause: float = 0.01) -> None:
        self.pause = pause

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        while True:
            tasks.next(1)
            time.sleep(self.pause)
            yield StepLog(1.0)


class Peeks(Mean):
    """Uses the other queries without saying so."""

    card = LearnerCard(name="peeks", family="other", kinds=("regression",))

    def predict(self, state: torch.Tensor, query: Query) -> Prediction:
        return Prediction(state + query.x.mean(dim=1, keepdim=True).expand_as(query.x))


class Overspends(Mean):
    card = LearnerCard(name="overspends", family="other", kinds=("regression",))

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        while True:
            tasks.next(50)
            yield StepLog(1.0)
