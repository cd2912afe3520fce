"""Modules wrapped by learn2learn: the contract, and inner steps written out."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metabench import LearnerCard, api
from metabench.errors import MetabenchError
from metabench.learners.adapters.learn2learn import Learn2LearnLearner
from metabench.learners.contract import TaskInfo, TaskStream
from metabench.records import Budget
from metabench.rng import Address
from metabench.submission.starting import begin
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid
from tests.learners.adapters.libraries import library

CPU = torch.device("cpu")
INFO = TaskInfo("regression", (1,), 1, Shape(way=0, shot=5, query=5), 0)
BUDGET = Budget(tasks=10**6, steps=10**6, seconds=1e9)


def algorithms() -> Any:
    return library("learn2learn.algorithms")


class Wrapped(Learn2LearnLearner):
    card = LearnerCard("l2l-maml", "gradient", ("classification", "regression"))

    def wrap(self, module: nn.Module) -> Any:
        return algorithms().MAML(module, lr=0.05)

    def make(self, info: TaskInfo) -> Any:
        outputs = info.max_way or info.output_dim
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(info.input_shape), 20), nn.Tanh(),
            nn.Linear(20, outputs),
        )  # fmt: skip
        nn.init.zeros_(net[-1].weight)  # no class is preferred
        nn.init.zeros_(net[-1].bias)
        return self.wrap(net)


class FirstOrder(Wrapped):
    def wrap(self, module: nn.Module) -> Any:
        return algorithms().MAML(module, lr=0.05, first_order=True)


class Rates(Wrapped):
    card = LearnerCard("l2l-meta-sgd", "gradient", ("classification", "regression"))

    def wrap(self, module: nn.Module) -> Any:
        return algorithms().MetaSGD(module, lr=0.05)


class Normalised(Wrapped):
    card = LearnerCard("l2l-normalised", "gradient", ("classification",))

    def make(self, info: TaskInfo) -> Any:
        size = math.prod(info.input_shape)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(size, 20), nn.BatchNorm1d(20, momentum=1.0), nn.Tanh(),
            nn.Dropout(0.5), nn.Linear(20, info.max_way),
        )  # fmt: skip
        nn.init.zeros_(net[-1].weight)
        nn.init.zeros_(net[-1].bias)
        return self.wrap(net)


@pytest.mark.parametrize("learner", [Wrapped, Rates, Normalised])
def test_wrapped_modules_keep_the_contract(learner: type[Learn2LearnLearner]) -> None:
    algorithms()
    before = torch.get_rng_state()
    report = api.check(learner, "cpu")
    assert report.passed, report.lines()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("learner", [Wrapped, Rates])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_it_takes_the_inner_steps(learner: type[Learn2LearnLearner], rate: float) -> None:
    algorithms()
    e = sample(Sinusoid(), INFO.shape, Address.of("l2l"), range(2))
    subject = learner(inner_steps=3)
    subject.setup(INFO, 0, CPU)
    subject.wrapped.module[-1].weight.data.normal_(generator=torch.Generator().manual_seed(0))
    used = subject.retuned(rate=rate)
    output = used.predict(used.adapt(e.support), e.query).output
    for i in range(2):
        net = nn.Sequential(nn.Flatten(), nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1))
        net.load_state_dict(subject.wrapped.module.state_dict())
        optimiser = torch.optim.SGD(net.parameters(), lr=0.05 * rate)
        for _ in range(3):
            optimiser.zero_grad()
            F.mse_loss(net(e.support.x[i]), e.support.y[i]).backward()
            optimiser.step()
        torch.testing.assert_close(output[i], net(e.query.x[i]).detach())
    none = subject.retuned(steps=0)
    start = none.predict(none.adapt(e.support), e.query).output
    expected = subject.wrapped.module(e.query.x.flatten(0, 1)).view_as(start)
    torch.testing.assert_close(start, expected.detach())


def test_the_meta_gradient_is_of_the_wrapper_s_order_and_training_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithms()

    stream = TaskStream(INFO, Sinusoid(), Address.of("t"), BUDGET, CPU)
    same = stream.next(4)
    monkeypatch.setattr(stream, "next", lambda tasks: same)

    def after(learner: type[Learn2LearnLearner], steps: int) -> tuple[dict[str, Any], list[float]]:
        subject = learner(lr=1e-2)
        subject.setup(INFO, 0, CPU)
        subject.wrapped.module[-1].weight.data.normal_(generator=torch.Generator().manual_seed(0))
        fit = subject.meta_fit(stream, 0)
        losses = [float(next(fit).loss) for _ in range(steps)]
        return {k: p.grad for k, p in subject.wrapped.named_parameters()}, losses

    second, first, rates = (after(kind, 1)[0] for kind in (Wrapped, FirstOrder, Rates))
    assert all(g is not None and g.abs().sum() > 0 for g in rates.values())
    assert any(k.startswith("lrs") for k in rates)
    assert max(float((second[k] - first[k]).abs().max()) for k in second) > 1e-4
    torch.testing.assert_close(second, {k: rates[k] for k in second})
    _, losses = after(Rates, 60)
    assert losses[-1] < 0.8 * losses[0]


def test_the_extra_is_named_where_learn2learn_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "learn2learn.algorithms", None)
    with pytest.raises(MetabenchError, match=r"pip install 'metabench\[learn2learn\]'"):
        Wrapped().setup(INFO, 0, CPU)


def test_the_template_keeps_the_contract(tmp_path: Path) -> None:
    algorithms()
    begin(tmp_path / "mine", "learn2learn")
    report = api.check(f"{tmp_path / 'mine' / 'learner.py'}:Learner", "cpu")
    assert report.passed, report.lines()
