"""R2-D2: the ridge solution, the gradient through it, and what is learned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabench.episodes import Query, Support
from metabench.learners.metric.r2d2 import R2D2, ridge, with_ones
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=2, query=2)


def problem(seed: int, items: int, features: int) -> tuple[Tensor, Tensor]:
    generator = Address.of("ridge", seed).torch_generator()
    x = torch.randn(3, items, features, generator=generator, dtype=torch.float64)
    return x, torch.randn(3, items, 2, generator=generator, dtype=torch.float64)


@given(
    seed=st.integers(0, 1000),
    items=st.integers(1, 12),
    features=st.integers(1, 12),
    strength=st.sampled_from([1e-3, 1.0, 50.0]),
)
@settings(max_examples=60, deadline=None)
def test_both_forms_equal_the_normal_equations(
    seed: int, items: int, features: int, strength: float
) -> None:
    x, y = problem(seed, items, features)
    found = ridge(x, y, torch.tensor(strength, dtype=torch.float64))
    for t in range(3):
        gram = x[t].T @ x[t] + strength * torch.eye(features, dtype=torch.float64)
        assert torch.allclose(found[t], gram.inverse() @ x[t].T @ y[t], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("items", "features"), [(4, 6), (6, 4)], ids=["dual", "primal"])
def test_the_gradient_passes_through_the_solution(items: int, features: int) -> None:
    x, y = problem(0, items, features)
    strength = torch.tensor(0.7, dtype=torch.float64)
    given = [t.clone().requires_grad_() for t in (x, y, strength)]
    assert torch.autograd.gradcheck(ridge, given)
    assert torch.autograd.gradgradcheck(ridge, given)


def test_the_meta_gradient_equals_finite_differences() -> None:
    """Through embedding, ridge solution, scale, shift and regularisation together."""
    e = sample(TASK, SHAPE, Address.of("fd"), range(3))
    s = e.support
    support = Support(s.x.double(), s.y, s.mask, s.way)
    query = Query(e.query.x.double(), e.query.mask)
    learner = R2D2(hidden=5)
    learner.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    # Away from the kinks of the ReLU at zero bias.
    generator = Address.of("fd", "start").torch_generator()
    start = [
        (v + 0.3 * torch.randn(v.shape, generator=generator)).double()
        for v in learner.frozen.values()
    ]

    def loss(*values: Tensor) -> Tensor:
        parameters = dict(zip(learner.parameters, values, strict=True))
        return learner.loss(learner.forward(parameters, support, query)[0], e)

    torch.set_default_dtype(torch.float64)
    try:
        assert torch.autograd.gradcheck(loss, [v.requires_grad_() for v in start])
    finally:
        torch.set_default_dtype(torch.float32)


def test_scores_are_scaled_ridge_predictions_whose_last_feature_is_one() -> None:
    e = sample(TASK, Shape(way=(2, 4), shot=(1, 3), query=2), Address.of("r"), range(12))
    learner = R2D2(regularisation=0.5, scale=4.0)
    learner.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    p = learner.frozen | {"shift": torch.tensor(-1.0)}
    scores = learner.scores(p, learner.fit(p, e.support.x, e.support), e.query.x)
    for t in range(12):
        keep, way = e.support.mask[t], int(e.support.way[t])
        x = with_ones(e.support.x[t, keep][None])[0].double()
        y = torch.nn.functional.one_hot(e.support.y[t, keep], way).double()
        w = torch.linalg.inv(x.T @ x + 0.5 * torch.eye(7, dtype=torch.float64)) @ x.T @ y
        expected = 4 * with_ones(e.query.x[t][None])[0].double() @ w - 1
        assert torch.allclose(scores[t, :, :way].double(), expected, atol=1e-4)
        assert bool((scores[t, :, way:] == -torch.inf).all())


def test_a_support_set_given_twice_is_one_regularised_half_as_much() -> None:
    """Squared errors are summed, as in the paper, so that evidence adds up."""
    x, y = problem(0, 5, 7)
    one = torch.tensor(1.0, dtype=torch.float64)
    twice = ridge(torch.cat([x, x], dim=1), torch.cat([y, y], dim=1), one)
    assert torch.allclose(twice, ridge(x, y, one / 2), atol=1e-10)


def test_a_linear_function_is_predicted_exactly_by_its_features() -> None:
    """In regression neither scale nor shift: with little regularisation it interpolates."""
    generator = Address.of("linear").torch_generator()
    x = torch.randn(4, 9, 3, generator=generator)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3
    support = Support(x, y, torch.ones(4, 9, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
    learner = R2D2(regularisation=1e-6)
    learner.setup(stream_of(Sinusoid(), Shape(shot=9, query=2)).info, 0, CPU)
    assert set(learner.parameters) >= {"log_lambda"}
    assert not {"scale", "shift"} & set(learner.parameters)
    state = learner.fit(learner.frozen, x, support)
    assert torch.allclose(learner.scores(learner.frozen, state, x), y, atol=1e-3)


def test_meta_training_learns_the_features_of_sinusoids() -> None:
    """The best predictor that ignores the support has risk 3.005; no features reach far below."""
    shape = Shape(shot=10, query=10)
    stream = stream_of(Sinusoid(), shape)
    learner = R2D2(hidden=40)
    learner.setup(stream.info, 0, CPU)
    test = sample(Sinusoid(), shape, Address.of("test"), range(300))

    def risk() -> float:
        output = learner.predict(learner.adapt(test.support), test.query).output
        return float((output - test.query_y).square().mean())

    before, start = risk(), float(learner.frozen["log_lambda"])
    steps = learner.meta_fit(stream, 0)
    for _ in range(600):
        next(steps)
    assert risk() < min(0.5, before / 2)
    assert float(learner.frozen["log_lambda"]) != start
