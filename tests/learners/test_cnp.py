"""CNP: the aggregation written out, what duplicates do, the likelihood, and tiny tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabench.episodes import Support
from metabench.learners.memory.cnp import Cnp, everything, normal
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

Array = NDArray[np.float64]
CASES: dict[str, tuple[TaskDistribution, Shape]] = {
    "classification": (Clusters(shape=(4,)), Shape(way=3, shot=2, query=2)),
    "regression": (Sinusoid(), Shape(shot=5, query=4)),
}


def made(kind: str) -> Cnp:
    learner = Cnp(width=8)
    learner.setup(stream_of(*CASES[kind]).info, 0, CPU)
    return learner


def mlp(p: dict[str, Array], name: str, x: Array, layers: int) -> Array:
    for i in range(layers):
        x = p[f"{name}.{i}.weight"] @ (np.maximum(x, 0) if i else x) + p[f"{name}.{i}.bias"]
    return x


@pytest.mark.parametrize("kind", CASES)
def test_outputs_equal_the_papers_equations_written_out_item_by_item(kind: str) -> None:
    learner = made(kind)
    p = {k: v.double().numpy() for k, v in learner.frozen.items()}
    e = sample(*CASES[kind], Address.of("cnp"), range(3))
    output = learner.predict(learner.adapt(e.support), e.query).output
    for t in range(3):
        x, y = e.support.x[t].double().numpy(), e.support.y[t].numpy()
        if kind == "regression":
            items = [mlp(p, "encoder", np.concatenate(i), 4) for i in zip(x, y, strict=True)]
            r = np.mean(items, axis=0)
        else:
            groups = [x[y == label] for label in range(3)]
            each = [np.mean([mlp(p, "encoder", i, 4) for i in g], axis=0) for g in groups]
            r = np.concatenate(each)
        for q, at in enumerate(e.query.x[t].double().numpy()):
            expected = mlp(p, "decoder", np.concatenate([r, at]), 3)
            expected = expected[: output.shape[-1]]
            np.testing.assert_allclose(output[t, q].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("kind", CASES)
@settings(max_examples=15, deadline=None)
@given(times=st.integers(2, 4))
def test_a_support_set_given_several_times_predicts_the_same(kind: str, times: int) -> None:
    learner = made(kind)
    e = sample(*CASES[kind], Address.of("twice"), range(3))
    s = e.support
    many = Support(*(torch.cat([a] * times, dim=1) for a in (s.x, s.y, s.mask)), s.way)
    once = learner.predict(learner.adapt(s), e.query).output
    again = learner.predict(learner.adapt(many), e.query).output
    torch.testing.assert_close(again, once, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_normal_likelihood_of_support_and_query_items() -> None:
    learner = made("regression")
    e = sample(*CASES["regression"], Address.of("likelihood"), range(3))
    loss, _ = learner.meta_loss(learner.frozen, e)
    x = torch.cat([e.support.x, e.query.x], dim=1)
    y = torch.cat([e.support.y, e.query_y], dim=1)
    mean, deviation = normal(learner.scores(learner.frozen, learner.adapt(e.support), x))
    expected = -torch.distributions.Normal(mean, deviation).log_prob(y).mean()
    torch.testing.assert_close(loss, expected)
    assert everything(e).query_y.shape[1] == 9


def test_the_prediction_is_the_mean() -> None:
    learner = made("regression")
    e = sample(*CASES["regression"], Address.of("mean"), range(3))
    state = learner.adapt(e.support)
    raw = learner.scores(learner.frozen, state, e.query.x)
    assert torch.equal(learner.predict(state, e.query).output, raw[..., :1])


def test_sinusoids_are_predicted_better_than_without_a_support_set() -> None:
    """The best predictor that ignores the support set has an error of 3.005."""
    shape = Shape(shot=10, query=10)
    learner = Cnp(width=64, meta_lr=1e-3)
    stream = stream_of(Sinusoid(), shape, steps=1000)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    e = sample(Sinusoid(), shape, Address.of("sinusoid"), range(400))
    state = learner.adapt(e.support)
    error = (learner.predict(state, e.query).output - e.query_y).square().mean()
    assert float(error) < 2.5
    mean, deviation = normal(learner.scores(learner.frozen, state, e.query.x))
    covered = ((e.query_y - mean).abs() < deviation).float().mean()
    assert math.isclose(float(covered), 0.68, abs_tol=0.2), "deviations are calibrated"


def test_clusters_are_told_apart_far_above_chance() -> None:
    task, shape = Clusters(shape=(4,), spread=3.0), Shape(way=2, shot=2, query=4)
    learner = Cnp(width=32, meta_lr=1e-3)
    stream = stream_of(task, shape, steps=300)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    e = sample(task, shape, Address.of("bound"), range(300))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output.argmax(-1) == e.query_y).float().mean()) > 0.8
