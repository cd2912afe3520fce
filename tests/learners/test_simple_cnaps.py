"""The Mahalanobis head against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.episodes import Support
from metabench.learners.metric.base import membership
from metabench.learners.metric.protonet import squared_distances
from metabench.learners.metric.simple_cnaps import SimpleCnaps, class_covariances
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

TASK = Clusters(shape=(4,), spread=2.0)


def head(support: Support, x: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    learner = SimpleCnaps(beta=beta)
    return learner.scores({}, learner.fit({}, support.x, support), x)


@given(i=st.integers(0, 10_000), beta=st.sampled_from([0.1, 1.0, 5.0]))
@settings(max_examples=30, deadline=None)
def test_scores_are_the_papers_distances_in_numpy(i: int, beta: float) -> None:
    e = sample(TASK, Shape(way=(2, 4), shot=(1, 6), query=2), Address.of("cnaps"), range(i, i + 3))
    scores = head(e.support, e.query.x, beta)
    for t in range(3):
        keep = e.support.mask[t].numpy()
        z, y = e.support.x[t].double().numpy()[keep], e.support.y[t].numpy()[keep]
        task = np.cov(z, rowvar=False)
        for k in range(int(e.support.way[t])):
            own = z[y == k]
            sigma = np.cov(own, rowvar=False) if len(own) > 1 else np.zeros((4, 4))
            ratio = len(own) / (len(own) + 1)
            q = ratio * sigma + (1 - ratio) * task + beta * np.eye(4)
            d = e.query.x[t].double().numpy() - own.mean(0)
            expected = -0.5 * np.einsum("qi,ij,qj->q", d, np.linalg.inv(q), d)
            np.testing.assert_allclose(scores[t, :, k].numpy(), expected, rtol=2e-4, atol=1e-4)


def test_one_item_a_class_has_half_the_covariance_of_the_task() -> None:
    e = sample(TASK, Shape(way=3, shot=1, query=1), Address.of("one"), range(4))
    q = class_covariances(e.support.x, membership(e.support), beta=1.0)
    for t in range(4):
        expected = 0.5 * torch.cov(e.support.x[t].T) + torch.eye(4)
        assert torch.allclose(q[t], expected.expand(3, 4, 4), atol=1e-4)


def test_many_items_a_class_find_the_covariance_of_the_class() -> None:
    """A cluster stretched along one axis: lambda goes to 1 and Q to Sigma_k + beta I."""
    generator = Address.of("stretched").torch_generator()
    scale = torch.tensor([4.0, 1.0, 0.5])
    x = torch.randn(1, 4000, 3, generator=generator) * scale
    y = torch.zeros(1, 4000, dtype=torch.int64)
    mask = torch.ones(1, 4000, dtype=torch.bool)
    support = Support(x, y, mask, torch.tensor([1]))
    q = class_covariances(x, membership(support), beta=1.0)[0, 0]
    assert torch.allclose(q, torch.diag(scale.square() + 1), atol=0.8)


def test_a_heavy_identity_makes_it_the_prototypical_network() -> None:
    """As beta grows, beta times the distance tends to half the squared Euclidean one."""
    e = sample(TASK, Shape(way=3, shot=4, query=3), Address.of("euclid"), range(5))
    means = membership(e.support).mT @ e.support.x / 4
    expected = -0.5 * squared_distances(e.query.x, means)
    assert torch.allclose(1e5 * head(e.support, e.query.x, 1e5), expected, rtol=1e-2, atol=1e-2)


def test_covariances_tell_classes_of_one_mean_apart() -> None:
    """Where means say nothing: a query far out along the long axis is of the long class."""
    generator = Address.of("means").torch_generator()
    shapes = torch.tensor([[6.0, 0.3], [0.3, 6.0]])
    y = torch.arange(2).repeat_interleave(200)[None]
    noise = torch.randn(1, 400, 2, generator=generator)
    noise[:, :200] -= noise[:, :200].mean(1)
    noise[:, 200:] -= noise[:, 200:].mean(1)
    support = Support(noise * shapes[y], y, torch.ones(1, 400, dtype=torch.bool), torch.tensor([2]))
    query = torch.tensor([[[9.0, 0.0], [0.0, -9.0], [-7.0, 0.5]]])
    assert head(support, query).argmax(-1).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("shot", [1, 3])
def test_the_gradient_passes_through_the_covariances(shot: int) -> None:
    e = sample(TASK, Shape(way=2, shot=shot, query=2), Address.of("grad"), range(2))
    learner = SimpleCnaps()
    torch.set_default_dtype(torch.float64)
    try:

        def scores(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return learner.scores({}, learner.fit({}, z, e.support), x)

        z, x = (t.double().requires_grad_() for t in (e.support.x, e.query.x))
        assert torch.autograd.gradcheck(scores, [z, x])
    finally:
        torch.set_default_dtype(torch.float32)
