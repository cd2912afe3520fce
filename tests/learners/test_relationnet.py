"""Relation networks: pairs, sums, squared error."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from metabench.episodes import Query, Support, concatenate
from metabench.learners.backbones import Conv4
from metabench.learners.metric.relationnet import Relation, RelationNet
from metabench.rng import Address
from metabench.scoring import score
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=2, query=2)
IMAGES = Clusters(shape=(1, 28, 28), spread=1.0)


def built(task: Clusters, filters: int = 4) -> RelationNet:
    learner = RelationNet(filters=filters, hidden=8)
    learner.setup(stream_of(task, SHAPE).info, 0, CPU)
    return learner


@pytest.mark.parametrize(("side", "normalised"), [(7, True), (7, False), (1, True), (1, False)])
def test_scores_are_those_of_the_concatenated_pair_one_pair_at_a_time(
    side: int, normalised: bool
) -> None:
    relation = Relation((3, side, side), normalised)
    generator = Address.of("pairs").torch_generator()
    p = relation.init(generator)
    p |= {k: torch.randn(v.shape, generator=generator) for k, v in p.items() if "shift" in k}
    classes = torch.randn(2, 4, 3, side, side, generator=generator)
    queries = torch.randn(2, 5, 3, side, side, generator=generator)
    ones = tuple((torch.full((3,), 0.1), torch.full((3,), 2.0)) for _ in range(relation.norms))
    scores, _ = relation(p, classes, queries, ones)
    for t, q, w in ((0, 0, 0), (1, 4, 3), (0, 2, 1)):
        x = torch.cat([classes[t, w], queries[t, q]])[None]
        for i in range(2):
            x = F.conv2d(x, p[f"relation{i}.kernel"], padding=1 if side > 1 else 0)
            shift = p[f"relation{i}.shift"]
            if normalised:
                x = F.batch_norm(x, *ones[i], p[f"relation{i}.scale"], shift)
            else:
                x = x + shift.view(-1, 1, 1)
            x = F.relu(x)
            x = F.max_pool2d(x, 2) if side > 1 else x
        x = F.relu(F.linear(x.flatten(1), p["units.weight"], p["units.bias"]))
        expected = F.linear(x, p["score.weight"], p["score.bias"]).sigmoid()
        assert torch.allclose(scores[t, q, w], expected.squeeze(), atol=1e-6)


def test_images_are_related_as_maps_and_vectors_as_vectors() -> None:
    images, vectors = built(IMAGES), built(TASK)
    assert images.relation.shape == (4, 7, 7)
    assert isinstance(images.embedding, Conv4)
    x = torch.zeros(2, 1, 28, 28)
    assert images.embedding(images.frozen, x)[0].shape == (2, images.embedding.features)
    assert vectors.relation.shape == (8, 1, 1)
    assert len(images.running) == 4 + 2
    assert vectors.running == ()


def test_conv4_halves_only_where_it_is_told_and_by_default_everywhere() -> None:
    for strided in (False, True):
        for halvings, side in ((2, 7), (4, 1 if not strided else 2)):
            network = Conv4((1, 28, 28), 3, strided, halvings=halvings)
            assert network.map == (3, side, side)
            p = network.init(Address.of("conv").torch_generator())
            assert network(p, torch.zeros(2, 1, 28, 28))[0].shape == (2, 3 * side * side)


@given(i=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_a_class_is_the_sum_of_its_items_so_that_twice_the_support_is_twice_the_sum(
    i: int,
) -> None:
    e = sample(TASK, SHAPE, Address.of("sum"), [i])
    learner = built(TASK)
    once = learner.adapt(e.support)
    twice = learner.adapt(concatenate(e.support, e.support))
    assert torch.allclose(twice.maps, 2 * once.maps, atol=1e-4)
    z, _ = learner.embed(learner.frozen, e.support.x, None)
    for c in range(3):
        expected = z[0, e.support.y[0] == c].sum(0)
        assert torch.allclose(once.maps[0, c].flatten(), expected, atol=1e-5)


def test_the_loss_is_the_mean_squared_error_over_the_pairs_there_are() -> None:
    e = sample(TASK, Shape(way=(2, 4), shot=1, query=2), Address.of("loss"), range(6))
    output = torch.rand(6, 8, 4, generator=Address.of("loss", "o").torch_generator())
    errors = []
    for t in range(6):
        for q in range(8):
            if e.query.mask[t, q]:
                for c in range(int(e.support.way[t])):
                    target = float(e.query_y[t, q] == c)
                    errors.append((float(output[t, q, c]) - target) ** 2)
    found = built(TASK).loss(output, e)
    assert float(found) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_scores_lie_between_zero_and_one_and_noise_scores_chance() -> None:
    noise, shape = Clusters(shape=(6,), spread=0.0), Shape(way=4, shot=1, query=5)
    e = sample(noise, shape, Address.of("noise"), range(300))
    learner = built(noise)
    fit = learner.meta_fit(stream_of(noise, shape), 0)
    for _ in range(20):
        next(fit)
    made = learner.predict(learner.adapt(e.support), e.query)
    assert float(made.output.min()) >= 0.0
    assert float(made.output.max()) <= 1.0
    accuracy = score(made, e)
    error = float(accuracy.std()) / len(accuracy) ** 0.5
    assert float(accuracy.mean()) == pytest.approx(0.25, abs=4 * error)


def test_the_squared_error_falls_to_that_of_a_good_comparison() -> None:
    """A score that ignores its pair has at best the error p (1 - p), p = 1/4 at four ways."""
    task, shape = Clusters(shape=(6,), spread=3.0), Shape(way=4, shot=1, query=4)
    learner = RelationNet(hidden=32, meta_batch=4)
    stream = stream_of(task, shape)
    learner.setup(stream.info, 0, CPU)
    fit = learner.meta_fit(stream, 0)
    losses = [float(next(fit).loss) for _ in range(500)]
    assert sum(losses[-50:]) / 50 < 0.5 * 0.25 * 0.75
    e = sample(task, shape, Address.of("t"), range(200))
    assert float(score(learner.predict(learner.adapt(e.support), e.query), e).mean()) > 0.7


def test_queries_may_come_alone() -> None:
    e = sample(IMAGES, SHAPE, Address.of("alone"), range(2))
    learner = built(IMAGES)
    state = learner.adapt(Support(e.support.x, e.support.y, e.support.mask, e.support.way))
    whole = learner.predict(state, e.query).output
    alone = learner.predict(state, Query(e.query.x[:, :1], e.query.mask[:, :1])).output
    assert torch.allclose(whole[:, :1], alone, atol=1e-5)
