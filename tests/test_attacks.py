"""Attacks: the worst inputs within a radius."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.attacks import Attack, Method, losses_of
from metabench.embeddings import Tables
from metabench.episodes import Episodes, Prediction, Query, Support
from metabench.evaluation import table_for
from metabench.learners import LEARNERS
from metabench.learners.contract import LearnerCard, MetaLearner
from metabench.predictors import LearnerPredictor
from metabench.rng import Address
from metabench.suite import Point
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.glyphs import Glyphs
from metabench.tasks.harmonics import Harmonics
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import stream_of

CPU, ADDRESS = torch.device("cpu"), Address.of("tests", "attacks")
METHODS: tuple[Method, ...] = ("gradient-attack", "random-attack")
SHAPE = Shape(shot=5, query=3)


class Line(MetaLearner[tuple[Tensor, Tensor]]):
    """Least squares through the origin: the worst query change is known."""

    card = LearnerCard("line", "baseline", ("regression",))
    differentiable = True

    def adapt(self, support: Support) -> tuple[Tensor, Tensor]:
        x, y = support.x[..., 0], support.y[..., 0]
        return (x * y).sum(1), (x * x).sum(1)

    def predict(self, state: tuple[Tensor, Tensor], query: Query) -> Prediction:
        return Prediction((state[0] / state[1])[:, None, None] * query.x)


def loss(learner: Any, episodes: Episodes) -> Tensor:
    predictor = LearnerPredictor(learner, CPU)
    return losses_of(predictor(Harmonics(), episodes).output.detach(), episodes)


def attacked(learner: Any, method: Method, epsilon: float, on: str, task: Any = None) -> Any:
    task = task or Harmonics()
    shape = SHAPE if task.kind == "regression" else Shape(way=3, shot=2, query=2)
    episodes = sample(task, shape, ADDRESS, range(6))
    attack = Attack(method, epsilon, on)  # type: ignore[arg-type]
    return episodes, attack(LearnerPredictor(learner, CPU), task, episodes, ADDRESS, range(6))


@pytest.mark.parametrize("method", METHODS)
def test_one_query_of_a_line_moves_to_the_corner_that_is_worst(method: Method) -> None:
    """Known answer: |a (x + d) - y| is largest at a corner of the interval."""
    task, learner = Harmonics(), Line()
    episodes = sample(task, Shape(shot=5, query=1), ADDRESS, range(40))
    attack = Attack(method, 0.1, "query")
    found = loss(
        learner, attack(LearnerPredictor(learner, CPU), task, episodes, ADDRESS, range(40))
    )
    a = loss_slope(learner, episodes)
    error = a * episodes.query.x[:, 0, 0] - episodes.query_y[:, 0, 0]
    assert torch.allclose(found, (error.abs() + 0.1 * a.abs()).square(), rtol=1e-4)


def loss_slope(learner: Line, episodes: Episodes) -> Tensor:
    top, bottom = learner.adapt(episodes.support)
    return top / bottom


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("on", ["support", "query", "both"])
def test_an_attack_stays_within_its_radius_and_grows_with_it(method: Method, on: str) -> None:
    risks = []
    for epsilon in (0.0, 0.05, 0.2):
        before, after = attacked(Line(), method, epsilon, on)
        for part, hit in (("support", on != "query"), ("query", on != "support")):
            moved = (getattr(after, part).x - getattr(before, part).x).abs().max()
            assert float(moved) <= epsilon + 1e-6
            assert bool(moved > 0) == (hit and epsilon > 0)
        assert torch.equal(after.query_y, before.query_y)
        risks.append(loss(Line(), after))
    assert bool((risks[1] > risks[0]).all())
    assert bool((risks[2] > risks[1]).all())


@pytest.mark.parametrize("method", METHODS)
def test_an_attack_is_worse_than_noise_of_its_radius(method: Method) -> None:
    """Else gradients would be masked (Athalye et al. 2018)."""
    before, after = attacked(Line(), method, 0.2, "support")
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        sign = torch.randint(0, 2, before.support.x.shape, generator=generator) * 2 - 1
        support = type(before.support)(
            before.support.x + 0.2 * sign, before.support.y, before.support.mask, before.support.way
        )
        noisy = Episodes(support, before.query, before.query_y)
        assert bool((loss(Line(), noisy) <= loss(Line(), after) * (1 + 1e-5)).all())


@pytest.mark.parametrize("method", METHODS)
def test_an_episode_is_attacked_alike_in_any_batch(method: Method) -> None:
    _, together = attacked(Line(), method, 0.1, "both")
    attack, task = Attack(method, 0.1, "both"), Harmonics()
    for i in range(6):
        one = sample(task, SHAPE, ADDRESS, range(i, i + 1))
        alone = attack(LearnerPredictor(Line(), CPU), task, one, ADDRESS, range(i, i + 1))
        assert torch.allclose(alone.support.x[0], together.support.x[i], atol=1e-6)
        assert torch.allclose(alone.query.x[0], together.query.x[i], atol=1e-6)


@pytest.fixture
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("maml", Sinusoid()),
        ("mann", Sinusoid()),
        ("maml", Clusters(spread=0.3)),
        ("protonet", Clusters(spread=0.3)),
        ("maml", Clusters(shape=(1, 12, 12), spread=0.1)),
        ("protonet", Clusters(shape=(1, 12, 12), spread=0.1)),
    ],
)
@pytest.mark.usefixtures("double")
def test_reference_learners_let_gradients_through_their_adaptation(name: str, task: Any) -> None:
    """The gradient that adaptation gives agrees with differences along a direction."""
    kind: Any = LEARNERS.get(name)
    learner = kind(**({"filters": 4} if len(task.input_shape) == 3 else {}))
    shape = SHAPE if task.kind == "regression" else Shape(way=3, shot=2, query=2)
    learner.setup(stream_of(task, shape).info, 0, CPU)
    for key, value in learner.parameters.items():
        learner.parameters[key] = value.detach().double().requires_grad_()
    learner.buffers = {k: v.double() for k, v in learner.buffers.items()}
    assert learner.differentiable
    e = sample(task, shape, ADDRESS, range(2))
    x = e.support.x.double()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()

    def risk(t: float | Tensor) -> Tensor:
        y = e.support.y if e.support.y.dtype == torch.int64 else e.support.y.double()
        support = Support(x + t * direction, y, e.support.mask, e.support.way)
        query_y = e.query_y if e.query_y.dtype == torch.int64 else e.query_y.double()
        changed = Episodes(support, Query(e.query.x.double(), e.query.mask), query_y)
        state = learner.adapt(changed.support)
        return losses_of(learner.predict(state, changed.query).output, changed).sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(risk(t), t)
    step = 1e-5
    with torch.no_grad():
        difference = (risk(step) - risk(-step)) / (2 * step)
    assert float(slope) == pytest.approx(float(difference), rel=1e-3, abs=1e-9)
    assert abs(float(slope)) > 1e-6


def test_a_learner_without_gradients_is_not_asked_for_them() -> None:
    point = Point("x", 1, Harmonics(), SHAPE, attack="gradient-attack", value=0.1)
    assert LearnerPredictor(LEARNERS.get("ridge")(), CPU).at(point) is None
    assert LearnerPredictor(Line(), CPU).at(point) is not None


def test_an_attack_changes_pixels_where_plain_episodes_come_from_a_table_of_embeddings() -> None:
    task, shape = Glyphs(split="new-characters"), Shape(way=3, shot=1, query=1)
    learner: Any = LEARNERS.get("protonet")(filters=4)
    learner.setup(stream_of(task, shape).info, 0, CPU)
    predictor = LearnerPredictor(learner, CPU)
    plain = Point("in-distribution", 0, task, shape)
    attack = replace(plain, condition="attack", level=1, attack="random-attack", value=0.3)
    tables = Tables(learner, CPU, ADDRESS)
    assert table_for(predictor, tables, plain, ADDRESS, 4) is not None
    assert table_for(predictor, tables, attack, ADDRESS, 4) is None
