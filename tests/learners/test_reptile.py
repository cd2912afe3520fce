"""Reptile: its expectation, joint training as a special case, Adam, mini-batches."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.learners.gradient import reptile
from metabench.learners.gradient.reptile import Reptile, mini_batches
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import stream_of
from tests.learners.test_gradient import Linear, built, float64, in_float64

X, Y = (0.5, -1.2, 2.0, 0.8, -0.3), (1.0, 0.4, -0.7, 2.0, 0.1)


def same_tasks(tasks: int) -> Episodes:
    """The items (X, Y), that often, in float64."""
    x, y = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1).repeat(tasks, 1, 1) for v in (X, Y))
    mask, way = torch.ones(tasks, len(X), dtype=torch.bool), torch.zeros(tasks, dtype=torch.int64)
    return Episodes(Support(x, y, mask, way), Query(x, mask), y)


def moved(orders: Tensor, rate: float, w: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Mean of theta - phi of y = w x over these orders [T, steps, items]."""
    learner = built("reptile", Sinusoid(), Shape(shot=1, query=1), inner_lr=rate)
    assert isinstance(learner, Reptile)
    learner.network, learner.names = Linear(), ("w",)  # type: ignore[assignment]
    learner.draws = torch.Generator()
    monkeypatch.setattr(reptile, "mini_batches", lambda *_: orders)
    meta = {"w": torch.tensor(w), "steps": torch.tensor(0.0)}
    return float(learner.meta_gradient(meta, same_tasks(len(orders)))[0]["w"])


@pytest.mark.parametrize("steps", [2, 3])
def test_the_expected_meta_gradient_is_the_papers_expansion(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E[g] = k AvgGrad - a/2 k (k - 1) AvgGradInner + O(a^2), over all orders (section 5.1)."""
    w = -0.4
    orders = torch.tensor(list(permutations(range(5), steps)))[..., None]
    slopes = [2 * x * (w * x - y) for x, y in zip(X, Y, strict=True)]
    pairs = [2 * X[i] ** 2 * slopes[j] for i, j in permutations(range(5), 2)]
    average, inner = sum(slopes) / 5, sum(pairs) / len(pairs)
    errors = []
    with float64():
        for rate in (1e-3, 5e-4):
            expected = steps * average - rate / 2 * steps * (steps - 1) * inner
            found = moved(orders, rate, w, monkeypatch) / rate
            assert abs(found - steps * average) > 100 * abs(found - expected)
            errors.append(abs(found - expected))
    if steps == 2:
        assert errors[0] < 1e-9  # a quadratic has no third-order term after two steps
    else:
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


def test_one_full_batch_step_is_joint_training(monkeypatch: pytest.MonkeyPatch) -> None:
    w = 0.7
    with float64():
        found = moved(torch.arange(5).view(1, 1, 5), 0.01, w, monkeypatch)
    joint = sum(2 * x * (w * x - y) for x, y in zip(X, Y, strict=True)) / 5
    assert found == pytest.approx(0.01 * joint)


def test_the_inner_loop_is_adam_without_momentum() -> None:
    shape = Shape(way=3, shot=2, query=1)
    with float64():
        learner = built("reptile", Clusters(shape=(6,)), shape, eval_steps=7, inner_lr=0.03)
        e = in_float64(sample(Clusters(shape=(6,)), shape, Address.of("adam"), range(1)))
        found = learner.adapt(e.support).own
        p = {k: learner.frozen[k].clone().requires_grad_() for k in learner.names}
        adam = torch.optim.Adam(p.values(), lr=0.03, betas=(0.0, 0.999))
        s = e.support
        for _ in range(7):
            adam.zero_grad()
            learner.network.loss(p, s.x[0], s.y[0], s.mask[0], s.way[0])[0].backward()
            adam.step()
        for key, value in p.items():
            assert torch.allclose(found[key][0], value, atol=1e-9), key


def test_second_moments_go_on_from_task_to_task() -> None:
    """After a meta-step the moments are those of its tasks, and the test starts from them."""
    shape = Shape(way=3, shot=2, query=1)
    learner = built("reptile", Clusters(shape=(6,)), shape)
    stream = stream_of(Clusters(shape=(6,)), shape)
    e = sample(Clusters(shape=(6,)), shape, Address.of("moments"), range(1))
    next(learner.meta_fit(stream, 0))
    second = learner.buffers["second.head.bias"]
    assert float(learner.buffers["steps"]) == 12
    assert (second > 0).all()
    travelled = []
    for factor in (1, 100):
        learner.buffers["second.head.bias"] = factor * second
        change = learner.adapt(e.support).own["head.bias"] - learner.frozen["head.bias"]
        travelled.append(float(change.abs().max()))
    assert travelled[1] < 0.5 * travelled[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 6), st.integers(1, 9))
def test_mini_batches_visit_every_item_before_any_again(
    counts: list[int], steps: int, items: int
) -> None:
    mask = torch.stack([torch.arange(8) < n for n in counts]).flip(1)
    chosen = mini_batches(mask, steps, items, torch.Generator().manual_seed(1))
    assert chosen.shape == (len(counts), steps, items)
    for n, row, valid in zip(counts, chosen.flatten(1), mask, strict=True):
        assert valid[row].all()
        for epoch in row.split(n):
            assert len(epoch.unique()) == len(epoch)


def test_the_meta_step_falls_linearly_to_zero() -> None:
    shape = Shape(shot=5, query=1)
    learner = built("reptile", Sinusoid(), shape)
    stream = stream_of(Sinusoid(), shape, steps=10)
    rates: list[Any] = []
    for step in range(10):
        stream.used = stream.used.model_copy(update={"steps": step})
        learner.schedule(stream)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1 * (10 - i) / 10 for i in range(10)])


def test_reptile_learns_from_the_support() -> None:
    """The best predictor that ignores the support has risk 3.005."""
    shape, steps = Shape(shot=10, query=10), 200
    stream = stream_of(Sinusoid(), shape, steps=steps)
    learner = built("reptile", Sinusoid(), shape, meta_batch=20, meta_lr=1.0)
    test = sample(Sinusoid(), shape, Address.of("test"), range(200))
    training = learner.meta_fit(stream, 0)
    for step in range(steps):
        next(training)
        stream.used = stream.used.model_copy(update={"steps": step + 1})
    output = learner.predict(learner.adapt(test.support), test.query).output
    risk = float((output - test.query_y).square().mean())
    assert risk < 2.5
