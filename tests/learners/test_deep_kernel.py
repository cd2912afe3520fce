"""Deep kernels against the normal distribution written out, and what they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from metabench.episodes import Episodes, Query
from metabench.learners.metric.deep_kernel import JITTER, DeepKernel
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.harmonics import Harmonics
from tests.conftest import CPU, stream_of

CURVES, CURVE_SHAPE = Harmonics(), Shape(shot=(2, 6), query=3)
CLASSES, CLASS_SHAPE = Clusters(shape=(6,)), Shape(way=(2, 3), shot=2, query=2)
KERNELS = ["linear", "rbf"]


def built(task: TaskDistribution, shape: Shape, **options: object) -> DeepKernel:
    learner = DeepKernel(hidden=7, **options)  # type: ignore[arg-type]
    learner.setup(stream_of(task, shape).info, 0, CPU)
    learner.parameters = {k: p.detach().double() for k, p in learner.parameters.items()}
    return learner


def doubled(e: Episodes) -> Episodes:
    """In float64, targets too."""
    y = e.query_y.double() if e.support.kind == "regression" else e.query_y
    support = replace(e.support, x=e.support.x.double())
    if e.support.kind == "regression":
        support = replace(support, y=e.support.y.double())
    return Episodes(support, Query(e.query.x.double(), e.query.mask), y)


def prior(learner: DeepKernel, x: Tensor) -> NDArray[np.float64]:
    """Covariance of noisy labels at x [n, *X], one pair at a time."""
    p = learner.frozen
    z = learner.embedding(p, x)[0].numpy()
    gram = np.empty((len(z), len(z)))
    for i, a in enumerate(z):
        for j, b in enumerate(z):
            if learner.stationary:
                gram[i, j] = np.exp(-((a - b) ** 2).sum() / (2 * float(p["log_length"].exp()) ** 2))
            else:
                gram[i, j] = a @ b / len(a)
    noise = float(p["log_noise"].exp()) + JITTER
    return float(p["log_scale"].exp()) * gram + noise * np.eye(len(z))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_marginal_likelihood_is_that_of_the_normal_distribution(kernel: str) -> None:
    e = doubled(sample(CURVES, CURVE_SHAPE, Address.of("marginal"), range(3)))
    learner = built(CURVES, CURVE_SHAPE, kernel=kernel)
    expected = []
    for t in range(3):
        valid = e.support.mask[t]
        x = torch.cat([e.support.x[t][valid], e.query.x[t]])
        y = torch.cat([e.support.y[t][valid], e.query_y[t]]).squeeze(-1).numpy()
        law = stats.multivariate_normal(cov=prior(learner, x))
        expected.append(-law.logpdf(y) / len(y))
    loss, _ = learner.meta_loss(learner.parameters, e)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_predictive_likelihood_is_that_of_the_conditional_distribution(kernel: str) -> None:
    e = doubled(sample(CURVES, CURVE_SHAPE, Address.of("predictive"), range(3)))
    learner = built(CURVES, CURVE_SHAPE, kernel=kernel, objective="predictive")
    expected = []
    for t in range(3):
        valid = e.support.mask[t]
        s = int(valid.sum())
        y_support = e.support.y[t][valid].squeeze(-1).numpy()
        for q in range(3):
            cov = prior(learner, torch.cat([e.support.x[t][valid], e.query.x[t, q : q + 1]]))
            solved = np.linalg.solve(cov[:s, :s], cov[:s, s])
            law = stats.norm(solved @ y_support, (cov[s, s] - solved @ cov[:s, s]) ** 0.5)
            expected.append(-law.logpdf(float(e.query_y[t, q])))
    loss, _ = learner.meta_loss(learner.parameters, e)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-8)


def test_a_class_is_a_regression_of_its_labels_on_1_and_minus_1() -> None:
    e = doubled(sample(CLASSES, CLASS_SHAPE, Address.of("classes"), range(24)))
    assert len(e.support.way.unique()) == 2
    learner = built(CLASSES, CLASS_SHAPE)
    expected = []
    for t in range(24):
        here = e.support.mask[t], e.query.mask[t]
        x = torch.cat([e.support.x[t][here[0]], e.query.x[t][here[1]]])
        y = torch.cat([e.support.y[t][here[0]], e.query_y[t][here[1]]]).numpy()
        law = stats.multivariate_normal(cov=prior(learner, x))
        for k in range(int(e.support.way[t])):
            expected.append(-law.logpdf(np.where(y == k, 1.0, -1.0)) / len(y))
    loss, _ = learner.meta_loss(learner.parameters, e)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-8)


def test_the_linear_kernel_is_bayesian_linear_regression_on_the_embedding() -> None:
    e = doubled(sample(CURVES, Shape(shot=5, query=3), Address.of("weights"), range(2)))
    learner = built(CURVES, CURVE_SHAPE, kernel="linear")
    p = learner.frozen
    noise = float(p["log_noise"].exp()) + JITTER
    found = learner.predict(learner.adapt(e.support), e.query).output
    for t in range(2):
        z = [
            learner.embedding(p, x)[0] * (p["log_scale"].exp() / 7) ** 0.5
            for x in (e.support.x[t], e.query.x[t])
        ]
        precision = torch.eye(7, dtype=torch.float64) + z[0].T @ z[0] / noise
        weights = torch.linalg.solve(precision, z[0].T @ e.support.y[t] / noise)
        assert torch.allclose(found[t], z[1] @ weights, atol=1e-8)


@pytest.mark.parametrize("objective", ["marginal", "predictive"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_meta_gradient_equals_finite_differences(objective: str, kernel: str) -> None:
    e = doubled(sample(CURVES, CURVE_SHAPE, Address.of("fd"), range(2)))
    learner = built(CURVES, CURVE_SHAPE, kernel=kernel, objective=objective)
    start = [p.clone().requires_grad_() for p in learner.parameters.values()]

    def loss(*values: Tensor) -> Tensor:
        return learner.meta_loss(dict(zip(learner.parameters, values, strict=True)), e)[0]

    assert torch.autograd.gradcheck(loss, start, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("objective", ["marginal", "predictive"])
def test_it_learns_the_family(objective: str) -> None:
    """A fifth of the risk of predicting zero, after 300 steps."""
    shape = Shape(shot=10, query=10)
    learner = DeepKernel(objective=objective, meta_lr=5e-3)  # type: ignore[arg-type]
    stream = stream_of(CURVES, shape, tasks=10**6, steps=300)
    learner.setup(stream.info, 0, CPU)
    for _, _ in zip(range(300), learner.meta_fit(stream, 0), strict=False):
        pass
    e = sample(CURVES, shape, Address.of("test"), range(200))
    risk = (learner.predict(learner.adapt(e.support), e.query).output - e.query_y).square().mean()
    assert float(risk) < 0.2 * float(e.query_y.square().mean())
