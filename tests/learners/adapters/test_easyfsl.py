"""Classifiers of EasyFSL: the contract, and the scores of the same network here."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from metabench import LearnerCard, api
from metabench.episodes import Support
from metabench.errors import MetabenchError
from metabench.learners.adapters.easyfsl import EasyFSLLearner, FrozenEasyFSLLearner
from metabench.learners.adapters.embedding import EmbeddingLearner
from metabench.learners.contract import TaskInfo, TaskStream
from metabench.records import Budget
from metabench.rng import Address
from metabench.submission.starting import begin
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from tests.learners.adapters.libraries import library

CPU = torch.device("cpu")
TASK = Clusters(shape=(6,))
INFO = TaskInfo("classification", (6,), 0, Shape(way=3, shot=2, query=4), 4)


def methods() -> Any:
    return library("easyfsl.methods")


class Plain(EmbeddingLearner):
    card = LearnerCard("plain", "metric", ("classification",))

    def make(self, info: TaskInfo) -> nn.Module:
        return network(info)


class Prototypes(FrozenEasyFSLLearner):
    card = LearnerCard("easy-prototypes", "metric", ("classification",))
    method = "PrototypicalNetworks"

    def make(self, info: TaskInfo) -> nn.Module:
        return getattr(methods(), self.method)(network(info))


class Tuned(Prototypes):
    card = LearnerCard("easy-finetune", "metric", ("classification",))

    def make(self, info: TaskInfo) -> nn.Module:
        return methods().Finetune(network(info), fine_tuning_steps=3, fine_tuning_lr=0.1)


class Trained(EasyFSLLearner):
    card = LearnerCard("easy-trained", "metric", ("classification",))
    make = Prototypes.make
    method = "PrototypicalNetworks"


class Rectified(Prototypes):
    card = LearnerCard("easy-rectified", "metric", ("classification",))
    method = "BDCSPN"


def network(info: TaskInfo) -> nn.Module:
    size = math.prod(info.input_shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.BatchNorm1d(32), nn.Dropout(0.1))


@pytest.mark.parametrize("learner", [Prototypes, Tuned, Trained])
def test_classifiers_of_easyfsl_keep_the_contract(learner: type[FrozenEasyFSLLearner]) -> None:
    methods()
    before = torch.get_rng_state()
    report = api.check(learner, "cpu")
    assert report.passed, report.lines()
    assert torch.equal(before, torch.get_rng_state())


def test_its_prototypes_score_as_those_here() -> None:
    methods()
    e = sample(TASK, Shape(way=(2, 4), shot=(1, 3), query=4), Address.of("e"), range(6))
    theirs, ours = Prototypes(), Plain()
    for learner in (theirs, ours):
        learner.setup(INFO, 3, CPU)
    found = theirs.predict(theirs.adapt(e.support), e.query).output[e.query.mask]
    expected = ours.predict(ours.adapt(e.support), e.query).output[e.query.mask]
    # Distances there, their squares here.
    torch.testing.assert_close(-found.square(), expected, atol=1e-4, rtol=1e-4)
    ours.load_state_dict(
        {k.removeprefix("backbone."): v + 1 for k, v in theirs.state_dict().items()}
    )
    theirs.load_state_dict({f"backbone.{k}": v for k, v in ours.state_dict().items()})
    found = theirs.predict(theirs.adapt(e.support), e.query).output[e.query.mask]
    expected = ours.predict(ours.adapt(e.support), e.query).output[e.query.mask]
    torch.testing.assert_close(-found.square(), expected, atol=1e-3, rtol=1e-4)


def test_classes_without_an_item_are_never_chosen_and_no_support_says_nothing() -> None:
    methods()
    e = sample(TASK, Shape(way=4, shot=2, query=2), Address.of("gap"), range(2))
    mask = e.support.y != 1
    mask[1] = False
    learner = Prototypes()
    learner.setup(INFO, 0, CPU)
    state = learner.adapt(Support(e.support.x, e.support.y, mask, e.support.way))
    output = learner.predict(state, e.query).output
    assert output[0].isneginf().any(dim=0).tolist() == [False, True, False, False]
    assert output[0, :, [0, 2, 3]].isfinite().all()
    assert (output[1] == 0).all()


def test_episodes_train_it(monkeypatch: pytest.MonkeyPatch) -> None:
    methods()
    budget = Budget(tasks=10**6, steps=10**6, seconds=1e9)
    stream = TaskStream(INFO, TASK, Address.of("train"), budget, CPU)
    same = stream.next(4)
    monkeypatch.setattr(stream, "next", lambda tasks: same)
    learner = Trained(lr=1e-2, meta_batch=4)
    learner.setup(INFO, 0, CPU)
    steps = learner.meta_fit(stream, 0)
    losses = [float(next(steps).loss) for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert not learner.module.training


def test_a_transductive_method_needs_a_card_that_says_so() -> None:
    methods()
    with pytest.raises(MetabenchError, match="transductive=True"):
        Rectified().setup(INFO, 0, CPU)


def test_the_extra_is_named_where_easyfsl_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "easyfsl.methods", None)
    with pytest.raises(MetabenchError, match=r"pip install 'metabench\[easyfsl\]'"):
        Prototypes().setup(INFO, 0, CPU)


def test_the_template_keeps_the_contract(tmp_path: Path) -> None:
    methods()
    begin(tmp_path / "mine", "easyfsl")
    report = api.check(f"{tmp_path / 'mine' / 'learner.py'}:Learner", "cpu")
    assert report.passed, report.lines()
