"""MAML against finite differences, closed forms and first order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from metabench.episodes import Episodes, Query, Support, concatenate
from metabench.learners.contract import TaskInfo
from metabench.learners.gradient.maml import Maml
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def built(distribution: TaskDistribution, shape: Shape, **parameters: object) -> Maml:
    learner = Maml(**parameters)  # type: ignore[arg-type]
    learner.setup(stream_of(distribution, shape).info, 0, CPU)
    return learner


def in_float64(e: Episodes) -> Episodes:
    s = e.support
    y, query_y = (t.double() if t.is_floating_point() else t for t in (s.y, e.query_y))
    support = Support(s.x.double(), y, s.mask, s.way)
    return Episodes(support, Query(e.query.x.double(), e.query.mask), query_y)


CASES = {
    "regression": (Sinusoid(), Shape(shot=5, query=5), {"inner_steps": 2, "inner_lr": 0.05}),
    "images": (
        Clusters(shape=(1, 16, 16), spread=1.0),
        Shape(way=3, shot=2, query=2),
        {"inner_steps": 2, "inner_lr": 0.3},
    ),
}


def gradient_of(learner: Maml, parameters: dict[str, Tensor], e: Episodes) -> dict[str, Tensor]:
    return torch.func.grad(learner.meta_loss)(parameters, e)


@pytest.mark.parametrize("case", CASES)
def test_the_meta_gradient_equals_finite_differences_and_not_first_order(case: str) -> None:
    distribution, shape, parameters = CASES[case]
    with float64():
        learner = built(distribution, shape, filters=3, hidden=7, **parameters)
        e = in_float64(sample(distribution, shape, Address.of("fd"), range(3)))
        generator = Address.of("fd", "start").torch_generator()
        # Away from the tiny initialisation of the paper, where second derivatives nearly vanish.
        p = {
            k: v + 0.3 * torch.randn(v.shape, generator=generator)
            for k, v in learner.frozen.items()
        }
        exact = gradient_of(learner, p, e)
        learner.first_order = True
        first = gradient_of(learner, p, e)
        learner.first_order = False
        directions = [
            {k: torch.randn(v.shape, generator=generator) for k, v in p.items()} for _ in range(5)
        ]
        for d in directions:
            slope = sum(float((exact[k] * d[k]).sum()) for k in p)
            step = 1e-6
            ahead = learner.meta_loss({k: p[k] + step * d[k] for k in p}, e)
            behind = learner.meta_loss({k: p[k] - step * d[k] for k in p}, e)
            assert slope == pytest.approx(float(ahead - behind) / (2 * step), rel=2e-5, abs=1e-7)
        gap = max(float((exact[k] - first[k]).abs().max()) for k in p)
        assert gap > 1e-3 * max(float(v.abs().max()) for v in exact.values())


def test_on_a_linear_quadratic_problem_the_meta_gradient_has_its_closed_form() -> None:
    """Model y = w x, one step: L(w) = q (w' - a)^2, w' = w - 2 r s (w - a), dL/dw analytic."""
    with float64():
        shape = Shape(shot=1, query=1)
        learner = built(Sinusoid(), shape, inner_lr=0.1, inner_steps=1, hidden=2)
        x_s, x_q, a, w = 1.5, 0.7, 2.0, -0.4
        learner.network = _Linear(learner.info)
        support = Support(
            torch.tensor([[[x_s]]]),
            torch.tensor([[[a * x_s]]]),
            torch.ones(1, 1, dtype=torch.bool),
            torch.zeros(1, dtype=torch.int64),
        )
        query = Query(torch.tensor([[[x_q]]]), torch.ones(1, 1, dtype=torch.bool))
        e = Episodes(support, query, torch.tensor([[[a * x_q]]]))
        shrink = 1 - 2 * 0.1 * x_s**2
        p = {"w": torch.tensor(w)}
        second = float(gradient_of(learner, p, e)["w"])
        learner.first_order = True
        first = float(gradient_of(learner, p, e)["w"])
    assert second == pytest.approx(2 * x_q**2 * (w - a) * shrink**2)
    assert first == pytest.approx(2 * x_q**2 * (w - a) * shrink)


class _Linear:
    def __init__(self, info: TaskInfo) -> None:
        self.info = info

    def forward(self, p, x, statistics=None, mask=None):  # type: ignore[no-untyped-def]
        return p["w"] * x, ()

    def loss(self, p, x, y, mask, way, statistics=None):  # type: ignore[no-untyped-def]
        return (p["w"] * x - y).square().mean(), ()


@pytest.mark.parametrize("case", CASES)
def test_a_support_set_given_twice_takes_the_same_inner_steps(case: str) -> None:
    distribution, shape, parameters = CASES[case]
    learner = built(distribution, shape, filters=4, hidden=8, **parameters)
    support = sample(distribution, shape, Address.of("twice"), range(4)).support
    once, twice = learner.adapt(support), learner.adapt(concatenate(support, support))
    for name, value in once.parameters.items():
        assert torch.allclose(value, twice.parameters[name], atol=1e-4), name


def test_tasks_lifted_together_equal_tasks_one_by_one() -> None:
    distribution, shape, parameters = CASES["images"]
    with float64():
        learner = built(distribution, shape, filters=4, **parameters)
        e = in_float64(sample(distribution, shape, Address.of("loop"), range(3)))
        together = gradient_of(learner, learner.frozen, e)
        singles = [
            gradient_of(
                learner,
                learner.frozen,
                in_float64(sample(distribution, shape, Address.of("loop"), [i])),
            )
            for i in range(3)
        ]
    for name, value in together.items():
        mean = torch.stack([s[name] for s in singles]).mean(0)
        assert torch.allclose(value, mean, atol=1e-10), name


def test_meta_training_learns_from_the_support() -> None:
    """The best predictor that ignores the support has risk 3.005; start and target are known."""
    shape = Shape(shot=10, query=10)
    stream = stream_of(Sinusoid(), shape)
    learner = Maml()
    learner.setup(stream.info, 0, CPU)
    test = sample(Sinusoid(), shape, Address.of("test"), range(200))
    steps = learner.meta_fit(stream, 0)
    for _ in range(1500):
        next(steps)
    output = learner.predict(learner.adapt(test.support), test.query).output
    assert float((output - test.query_y).square().mean()) < 1.5


def test_classes_beyond_those_trained_start_alike() -> None:
    distribution = Clusters(shape=(8,))
    info = TaskInfo("classification", (8,), 0, Shape(way=3, shot=1, query=2), 6)
    learner = Maml()
    learner.setup(info, 0, CPU)
    e = sample(distribution, Shape(way=6, shot=1, query=2), Address.of("wide"), range(4))
    start = learner._start(e.support)
    assert torch.allclose(start["head.weight"][3:], start["head.weight"][:3].mean(0))
    assert learner.predict(learner.adapt(e.support), e.query).output.shape == (4, 12, 6)
