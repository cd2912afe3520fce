"""Prototypical networks and the per-task baselines against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.episodes import Episodes, Support, concatenate
from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.learners.baselines.ridge import FourierRidge, Ridge, gaussian, leave_one_out
from metabench.learners.baselines.scratch import Scratch
from metabench.learners.contract import MetaLearner
from metabench.learners.metric.protonet import ProtoNet, prototypes, squared_distances
from metabench.rng import Address
from metabench.scoring import score
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.harmonics import Harmonics
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of

TASK = Clusters(shape=(6,))


def accuracy(learner: MetaLearner, e: Episodes) -> float:  # type: ignore[type-arg]
    return float(score(learner.predict(learner.adapt(e.support), e.query), e).mean())


def test_prototypes_are_class_means_of_the_unmasked_items() -> None:
    e = sample(TASK, Shape(way=(2, 4), shot=(1, 3), query=1), Address.of("p"), range(20))
    s = e.support
    means = prototypes(s.x, s)
    for t in range(20):
        for c in range(int(s.way[t])):
            member = s.mask[t] & (s.y[t] == c)
            assert torch.allclose(means[t, c], s.x[t, member].mean(0), atol=1e-6)


def test_distances_are_squared_euclidean() -> None:
    a, b = torch.randn(2, 3, 4, generator=torch.Generator()), torch.ones(2, 5, 4)
    assert torch.allclose(squared_distances(a, b), torch.cdist(a, b).square(), atol=1e-5)


def test_running_statistics_follow_training_and_stay_put_at_test() -> None:
    task, shape = Clusters(shape=(1, 16, 16)), Shape(way=3, shot=1, query=2)
    stream = stream_of(task, shape)
    learner = ProtoNet(filters=4, train_way=3)
    learner.setup(stream.info, 0, CPU)
    next(learner.meta_fit(stream, 0))
    assert float(learner.buffers["mean0"].abs().sum()) > 0
    before = {k: v.clone() for k, v in learner.buffers.items()}
    accuracy(learner, sample(task, shape, Address.of("t"), range(4)))
    assert all(torch.equal(v, learner.buffers[k]) for k, v in before.items())


def test_meta_training_beats_the_raw_neighbour_where_a_direction_matters() -> None:
    """Only meta-training can learn that most input dimensions are noise."""
    shape = Shape(way=4, shot=1, query=4)
    task = _OneDirection(shape=(60,), spread=1.5)
    stream = stream_of(task, shape)
    learner = ProtoNet(hidden=32, train_way=4, meta_batch=8)
    learner.setup(stream.info, 0, CPU)
    steps = learner.meta_fit(stream, 0)
    for _ in range(800):
        next(steps)
    e = sample(task, shape, Address.of("t"), range(300))
    assert accuracy(learner, e) > accuracy(NearestNeighbour(), e) + 0.1


class _OneDirection(Clusters):
    """Class means differ in the first four dimensions only."""

    def realise(self, plan, shape, device):  # type: ignore[no-untyped-def]
        means = np.array(plan["means"])
        means[..., 4:] = 0
        return super().realise({**plan, "means": means}, shape, device)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_protonet_predicts_alike_for_a_support_set_given_twice(i: int) -> None:
    e = sample(TASK, Shape(way=3, shot=2, query=2), Address.of("d"), [i])
    learner = ProtoNet(hidden=8)
    learner.setup(stream_of(TASK, Shape(way=3, shot=2, query=2)).info, 0, CPU)
    once = learner.predict(learner.adapt(e.support), e.query).output
    twice = learner.predict(learner.adapt(concatenate(e.support, e.support)), e.query).output
    assert torch.allclose(once, twice, atol=1e-4)


def test_the_nearest_neighbour_is_the_nearest() -> None:
    e = sample(TASK, Shape(way=3, shot=2, query=3), Address.of("nn"), range(30))
    output = NearestNeighbour().predict(e.support, e.query).output
    d = torch.cdist(e.query.x, e.support.x)
    expected = e.support.y.gather(1, d.argmin(-1))
    assert torch.equal(output.argmax(-1), expected)


def test_the_leave_one_out_error_is_that_of_leaving_one_out() -> None:
    e = sample(Sinusoid(), Shape(shot=6, query=1), Address.of("loo"), range(1))
    x, y = e.support.x[0, :, 0].double().numpy(), e.support.y[0, :, 0].double().numpy()
    kernel = np.exp(-0.5 * ((x[:, None] - x[None]) / 1.3) ** 2)
    y = y - y.mean()
    gram_inverse = np.linalg.inv(kernel + 0.1 * np.eye(6))
    quick = (gram_inverse @ y) / np.diag(gram_inverse)
    for i in range(6):
        keep = np.arange(6) != i
        inner = np.linalg.solve(kernel[np.ix_(keep, keep)] + 0.1 * np.eye(5), y[keep])
        assert y[i] - kernel[i, keep] @ inner == pytest.approx(quick[i], rel=1e-6)


def test_kernel_ridge_fits_a_smooth_function() -> None:
    e = sample(Sinusoid(), Shape(shot=20, query=20), Address.of("kr"), range(100))
    assert accuracy(Ridge(), e) < 0.05


def test_fourier_ridge_knows_the_features_and_not_the_spectrum() -> None:
    task = Harmonics(centre=2.0)
    e = sample(task, Shape(shot=10, query=10), Address.of("fr"), range(400))
    oracle = float((task.oracle(e) - e.query_y).square().mean())
    assert oracle < accuracy(FourierRidge(), e) < 0.75


def test_leave_one_out_ignores_padding() -> None:
    e = sample(Sinusoid(), Shape(shot=(4, 8), query=4), Address.of("pad"), range(64))
    whole = Ridge().predict(Ridge().adapt(e.support), e.query).output
    for i in range(5):
        keep = e.support.mask[i]
        s = e.support
        one = Support(
            s.x[i : i + 1, keep], s.y[i : i + 1, keep], keep[keep][None], s.way[i : i + 1]
        )
        query = type(e.query)(e.query.x[i : i + 1], e.query.mask[i : i + 1])
        alone = Ridge().predict(Ridge().adapt(one), query).output
        assert torch.allclose(whole[i : i + 1], alone, atol=1e-4)


def test_a_kernel_must_be_given() -> None:
    e = sample(Sinusoid(), Shape(shot=4, query=1), Address.of("k"), range(1))
    with pytest.raises(ValueError, match="kernel"):
        leave_one_out([], e.support, intercept=True)
    assert gaussian(torch.zeros(1, 1, 1), torch.ones(1)).item() == 1.0


def test_scratch_learns_each_task_from_its_support_alone() -> None:
    shape = Shape(way=3, shot=8, query=4)
    task = Clusters(shape=(6,), spread=2.0)
    learner = Scratch()
    learner.setup(stream_of(task, shape).info, 0, CPU)
    e = sample(task, shape, Address.of("s"), range(30))
    assert accuracy(learner, e) > 0.85
