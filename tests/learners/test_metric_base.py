"""What every metric learner must do, whatever its head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabench.episodes import Episodes, Query, Support, concatenate
from metabench.errors import MetabenchError
from metabench.learners import LEARNERS
from metabench.learners.build import resolve_parameters
from metabench.learners.metric.base import MetricLearner
from metabench.learners.metric.protonet import ProtoNet
from metabench.learners.metric.protonet_transductive import TransductiveProtoNet
from metabench.rng import Address
from metabench.scoring import score
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=2, query=2)
IMAGES = Clusters(shape=(1, 16, 16), spread=1.0)
METRIC = [
    n
    for n in LEARNERS
    if issubclass(LEARNERS.get(n), MetricLearner) and LEARNERS.get(n).card.family == "metric"
]
INDUCTIVE = [n for n in METRIC if not LEARNERS.get(n).card.transductive]
UNORDERED = [n for n in METRIC if not LEARNERS.get(n).card.sequential]


def built(name: str, task: Clusters = TASK, shape: Shape = SHAPE, **options: Any) -> Any:
    learner = LEARNERS.get(name)(**{"filters": 4, "hidden": 8, **options})
    learner.setup(stream_of(task, shape).info, 0, CPU)
    return learner


def trained(learner: Any, task: Clusters, shape: Shape, steps: int) -> Any:
    fit = learner.meta_fit(stream_of(task, shape), 0)
    for _ in range(steps):
        next(fit)
    return learner


def output(learner: Any, support: Support, query: Query) -> Tensor:
    made: Tensor = learner.predict(learner.adapt(support), query).output
    return made


def reordered(s: Support, order: Tensor) -> Support:
    return Support(s.x[:, order], s.y[:, order], s.mask[:, order], s.way)


@pytest.mark.parametrize("name", UNORDERED)
@given(i=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_support_does_not_matter(name: str, i: int) -> None:
    e = sample(TASK, SHAPE, Address.of("order"), [i])
    learner = built(name)
    order = torch.randperm(6, generator=Address.of("order", i).torch_generator())
    before = output(learner, e.support, e.query)
    after = output(learner, reordered(e.support, order), e.query)
    assert torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("name", ["protonet", "matchingnet"])
@given(i=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_a_support_set_given_twice_changes_nothing(name: str, i: int) -> None:
    e = sample(TASK, SHAPE, Address.of("twice"), [i])
    learner = built(name)
    once = output(learner, e.support, e.query)
    twice = output(learner, concatenate(e.support, e.support), e.query)
    assert torch.allclose(once, twice, atol=1e-4)


@pytest.mark.parametrize("name", METRIC)
def test_naming_the_classes_otherwise_turns_the_scores_with_them(name: str) -> None:
    e = sample(TASK, SHAPE, Address.of("names"), range(5))
    learner = built(name)
    turned = replace(e.support, y=(e.support.y + 1) % 3)
    before, after = (output(learner, s, e.query) for s in (e.support, turned))
    assert torch.allclose(before.roll(1, dims=-1), after, atol=1e-4)


@pytest.mark.parametrize("name", METRIC)
def test_padding_does_not_change_a_meta_training_step(name: str) -> None:
    """The loss, and the statistics that it leaves behind, are those of the real items."""
    e = sample(IMAGES, Shape(way=3, shot=2, query=2), Address.of("padded"), range(2))
    s, q = e.support, e.query

    def padded(t: Tensor, value: float = 0.0) -> Tensor:
        extra = torch.full_like(t[:, :2], value)
        return torch.cat([t[:, :1], extra, t[:, 1:]], dim=1)

    wide = Episodes(
        Support(padded(s.x, 7.0), padded(s.y), padded(s.mask), s.way),
        Query(padded(q.x, -7.0), padded(q.mask)),
        padded(e.query_y),
    )
    learner = built(name, IMAGES)
    loss, used = learner.meta_loss(learner.parameters, e)
    wide_loss, wide_used = learner.meta_loss(learner.parameters, wide)
    assert torch.allclose(wide_loss, loss, rtol=1e-4)
    for pair, other in zip(used, wide_used, strict=True):
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(pair, other, strict=True))


@pytest.mark.parametrize("name", METRIC)
def test_every_parameter_has_a_gradient(name: str) -> None:
    e = sample(IMAGES, SHAPE, Address.of("gradient"), range(2))
    learner = built(name, IMAGES)
    loss, _ = learner.meta_loss(learner.parameters, e)
    loss.backward()
    idle = [
        k for k, p in learner.parameters.items() if p.grad is None or not bool(p.grad.abs().sum())
    ]
    # A shift of all logits, and of all distances, is lost in a softmax.
    assert set(idle) <= ({"shift"} if name == "r2d2" else set())


@pytest.mark.parametrize("name", INDUCTIVE)
def test_running_statistics_are_those_of_training_once_it_stands_still(name: str) -> None:
    """Trained on one batch with a vanishing rate, meta-test reproduces meta-training's scores."""
    e = sample(IMAGES, SHAPE, Address.of("still"), range(3))
    learner = built(name, IMAGES)
    expected, used = learner.forward(learner.frozen, e.support, e.query)
    for i, (mean, variance) in enumerate(used):
        learner.buffers[f"mean{i}"].copy_(mean)
        learner.buffers[f"variance{i}"].copy_(variance)
    assert torch.allclose(output(learner, e.support, e.query), expected, atol=1e-4)


def test_running_statistics_move_a_tenth_of_the_way_each_step() -> None:
    learner, stream = built("protonet", IMAGES, train_way=3), stream_of(IMAGES, SHAPE)
    first = replace(stream).next(1, way=3, query=5)
    _, used = learner.meta_loss(learner.parameters, first)
    next(learner.meta_fit(stream, 0))
    for i, (mean, variance) in enumerate(used):
        assert torch.allclose(learner.buffers[f"mean{i}"], 0.1 * mean, atol=1e-6)
        assert torch.allclose(learner.buffers[f"variance{i}"], 0.9 + 0.1 * variance, atol=1e-6)


def test_the_rate_halves_and_training_has_the_way_and_query_asked_for() -> None:
    learner, stream = (
        built("protonet", train_way=5, train_query=4, halve_every=2),
        stream_of(TASK, SHAPE),
    )
    rates, fit = [], learner.meta_fit(stream, 0)
    for step in range(5):
        stream.used = stream.used.model_copy(update={"steps": step})
        next(fit)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]
    assert stream.used.examples == 5 * (5 * 2 + 5 * 4)


@pytest.mark.parametrize("backbone", ["mlp", "conv4", "resnet12"])
@pytest.mark.parametrize("name", METRIC)
def test_every_learner_works_on_every_backbone(name: str, backbone: str) -> None:
    e = sample(IMAGES, SHAPE, Address.of("backbone"), range(2))
    learner = built(name, IMAGES, backbone=backbone, filters=2, train_way=3, meta_batch=2)
    next(learner.meta_fit(stream_of(IMAGES, SHAPE), 0))
    assert output(learner, e.support, e.query).isfinite().all()
    layers = {"mlp": 0, "conv4": 4, "resnet12": 16}[backbone]
    if name in ("protonet", "r2d2", "matchingnet"):
        assert len(learner.running) == layers


def test_a_convolutional_backbone_needs_images() -> None:
    with pytest.raises(MetabenchError, match="16 x 16"):
        built("protonet", backbone="conv4")


@dataclass(eq=False)
class Elsewhere(ProtoNet):
    pass


def test_a_learner_of_another_module_inherits_the_hyper_parameters() -> None:
    assert resolve_parameters(Elsewhere, {"train_way": 7})["train_way"] == 7
    with pytest.raises(MetabenchError, match="train_way"):
        resolve_parameters(Elsewhere, {"train_way": 1})


def test_on_gaussian_clusters_of_known_law_prototypes_are_the_bayes_classifier() -> None:
    """Classes N(m_c, I): choose the largest 2 m_c.x - m_c.m_c, right with chance Phi(d / 2)."""
    generator = Address.of("bayes").torch_generator()
    means = torch.tensor([[0.5, -0.5, 1.0], [-0.5, 0.0, 0.5]])
    shot, n = 20_000, 50_000

    def items(count: int) -> tuple[Tensor, Tensor]:
        y = torch.arange(2).repeat_interleave(count)
        x = means[y] + torch.randn(2 * count, 3, generator=generator)
        return x[None], y[None]

    (x, y), (x_query, y_query) = items(shot), items(n)
    support = Support(x, y, torch.ones_like(y, dtype=torch.bool), torch.tensor([2]))
    learner = ProtoNet()
    scores = learner.scores({}, learner.fit({}, x, support), x_query)
    linear = 2 * x_query @ means.T - means.square().sum(-1)
    # Log-odds, for the squared distances share the term x.x; the means are estimated within 1/141.
    odds, expected = (t[..., 0] - t[..., 1] for t in (scores, linear))
    assert float((odds - expected).abs().max()) < 0.3
    right = float((scores.argmax(-1) == y_query).float().mean())
    bayes = torch.special.ndtr((means[0] - means[1]).norm() / 2)
    assert right == pytest.approx(float(bayes), abs=4 * 0.5 / (2 * n) ** 0.5)


def test_the_transductive_variant_uses_other_queries_and_the_inductive_one_does_not() -> None:
    e = sample(IMAGES, Shape(way=3, shot=1, query=4), Address.of("company"), range(3))
    half = Query(e.query.x[:, :6], e.query.mask[:, :6])
    for learner, differs in ((ProtoNet(filters=4), False), (TransductiveProtoNet(filters=4), True)):
        learner.setup(stream_of(IMAGES, SHAPE).info, 0, CPU)
        whole = output(learner, e.support, e.query)[:, :6]
        assert torch.allclose(whole, output(learner, e.support, half), atol=1e-4) != differs


def test_statistics_of_the_episode_undo_a_change_of_scale_that_running_averages_cannot() -> None:
    """Inputs moved and stretched as a whole are new to the running averages only."""
    task, shape = Clusters(shape=(8,), spread=1.5), Shape(way=4, shot=1, query=8)
    e = sample(task, shape, Address.of("moved"), range(800))
    moved = replace(
        e,
        support=replace(e.support, x=5 * e.support.x + 20),
        query=replace(e.query, x=5 * e.query.x + 20),
    )
    options = {"hidden": 32, "train_way": 4, "meta_batch": 4, "normalised": True}
    inductive, transductive = (
        trained(built(name, task, shape, **options), task, shape, 200)
        for name in ("protonet", "protonet-transductive")
    )
    before, after = (output(transductive, x.support, x.query) for x in (e, moved))
    assert torch.allclose(before, after, rtol=1e-2, atol=1e-2)
    before, after = (
        score(inductive.predict(inductive.adapt(x.support), x.query), x) for x in (e, moved)
    )
    lost = before - after
    assert float(lost.mean()) > 4 * float(lost.std()) / len(lost) ** 0.5
