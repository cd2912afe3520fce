"""``metabench check`` passes what is shipped and names what is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import metabench
from metabench import LearnerCard, MetaLearner, Prediction, Query, StepLog, Support, TaskStream
from metabench.episodes import mask_absent_classes
from metabench.learners import LEARNERS
from metabench.learners.metric.protonet import prototypes, squared_distances

CARD = LearnerCard(name="planted", family="other", kinds=("classification",))


@dataclass
class State:
    means: Tensor
    support: Support


class Centroid(MetaLearner[State]):
    """A sound learner: the nearest class mean on raw inputs."""

    card: ClassVar[LearnerCard] = CARD

    def adapt(self, support: Support) -> State:
        flat = support.x.flatten(2)
        return State(prototypes(flat, support), support)

    def predict(self, state: State, query: Query) -> Prediction:
        scores = -squared_distances(self.embed(query.x.flatten(2)), state.means)
        return Prediction(mask_absent_classes(scores, state.support.way))

    def embed(self, x: Tensor) -> Tensor:
        return x


class TransductiveNorm(Centroid):
    def embed(self, x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True, correction=0) + 1e-5)


class ChangesState(Centroid):
    def predict(self, state: State, query: Query) -> Prediction:
        made = super().predict(state, query)
        state.means += 0.1 * query.x.flatten(2).mean(1, keepdim=True)
        return made


class ChangesItself(Centroid):
    seen = 0.0

    def adapt(self, support: Support) -> State:
        state = super().adapt(support)
        self.seen += float(support.x.sum())
        return replace(state, means=state.means + self.seen)


class PositionCheat(Centroid):
    def predict(self, state: State, query: Query) -> Prediction:
        n = query.x.shape[1]
        y = state.support.y
        labels = y.repeat(1, -(-n // y.shape[1]))[:, :n]
        way = state.support.max_way
        return Prediction((labels[..., None] == torch.arange(way)).float())


class WrongShape(Centroid):
    def predict(self, state: State, query: Query) -> Prediction:
        return Prediction(super().predict(state, query).output.transpose(1, 2))


class Unseeded(Centroid):
    def predict(self, state: State, query: Query) -> Prediction:
        output = super().predict(state, query).output
        return Prediction(output + torch.randn(output.shape))


class IgnoresMask(Centroid):
    def adapt(self, support: Support) -> State:
        everything = torch.ones_like(support.mask)
        return super().adapt(replace(support, mask=everything))


class FixedLabels(Centroid):
    """Leans towards the class of number 0, whatever the support set calls it."""

    def predict(self, state: State, query: Query) -> Prediction:
        output = super().predict(state, query).output.clone()
        output[..., 0] += 115.0
        return Prediction(mask_absent_classes(output, state.support.way))


class ForgetsOptimiser(Centroid):
    """Momentum that the checkpoint lacks."""

    def setup(self, info: Any, seed: int, device: torch.device) -> None:
        self.shift = torch.zeros(1)
        self.momentum = 0.0

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        while True:
            e = tasks.next(2)
            self.momentum = 0.9 * self.momentum + float(e.support.x.mean()) + 1.0
            self.shift = self.shift + self.momentum
            yield StepLog(1.0)

    def embed(self, x: Tensor) -> Tensor:
        return x + self.shift

    def state_dict(self) -> dict[str, Tensor]:
        return {"shift": self.shift}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.shift = state["shift"].clone()


class Raises(Centroid):
    def predict(self, state: State, query: Query) -> Prediction:
        raise ValueError("not today")


def findings(learner: type[MetaLearner[Any]]) -> dict[str, str]:
    report = metabench.check(learner, "cpu")
    return {r.name: r.message for r in report.results if not r.passed}


def test_a_sound_learner_keeps_the_contract() -> None:
    report = metabench.check(Centroid, "cpu")
    assert report.passed
    assert report.lines()[-1].endswith("keeps the contract")
    assert len(report.lines()) == len(report.results) + 1


@pytest.mark.parametrize(
    ("learner", "name", "message"),
    [
        (TransductiveNorm, "query chunks", "it uses the other queries"),
        (ChangesState, "purity", "predict changes the state"),
        (ChangesItself, "purity", "adapt or predict keeps state"),
        (PositionCheat, "query order", "follow the position of a query"),
        (PositionCheat, "noise inputs", "the position?"),
        (WrongShape, "shapes", "predict returned shape"),
        (Unseeded, "seeding", "randomness that the seed does not decide"),
        (IgnoresMask, "variable way and shot", "mask is ignored"),
        (FixedLabels, "label permutation", "stay the same when the classes are renamed"),
        (ForgetsOptimiser, "checkpoints", "resumed from a checkpoint ends elsewhere"),
        (Raises, "shapes", "ValueError: not today"),
    ],
)
def test_a_planted_defect_is_named(
    learner: type[MetaLearner[Any]], name: str, message: str
) -> None:
    found = findings(learner)
    assert message in found.get(name, f"passed; found {found}")


def test_a_declared_transductive_learner_may_use_the_batch() -> None:
    class Declared(TransductiveNorm):
        card = replace(CARD, transductive=True)

    assert "query chunks" not in findings(Declared)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_every_shipped_learner_keeps_the_contract(name: str) -> None:
    report = metabench.check(name, "cpu")
    assert report.passed, "\n".join(report.lines())
