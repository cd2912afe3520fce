"""SimpleShot: an ordinary classifier's features, centred and of length 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.learners.contract import TaskStream
from metabench.learners.metric.simpleshot import SimpleShot
from metabench.learners.supervised import Supervised
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.training import train
from tests.conftest import CPU, stream_of
from tests.learners.test_protonet import _OneDirection, accuracy

SHAPE = Shape(way=4, shot=1, query=4)
TASK = _OneDirection(shape=(60,), spread=1.5)


def trained(steps: int) -> tuple[SimpleShot, TaskStream]:
    stream = stream_of(TASK, SHAPE, steps=steps)
    learner = SimpleShot(hidden=32)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    return learner, stream


def features(learner: SimpleShot, x: torch.Tensor) -> torch.Tensor:
    return Supervised.embed_items(learner, x)


def test_an_ordinary_classifier_learns_which_directions_matter() -> None:
    learner, _ = trained(300)
    e = sample(TASK, SHAPE, Address.of("t"), range(300))
    assert accuracy(learner, e) > accuracy(NearestNeighbour(), e) + 0.1


def test_the_centre_is_the_mean_feature_of_the_training_classes() -> None:
    learner, stream = trained(300)
    catalogue = TASK.catalogue(stream.address.child("catalogue"))
    x = catalogue.fetch(np.arange(catalogue.classes * catalogue.items), CPU)
    mean = features(learner, x).mean(0)
    assert torch.allclose(learner.buffers["centre"], mean, atol=0.05 * float(mean.norm()))


def test_the_nearest_centroid_of_centred_unit_features_wins() -> None:
    learner, _ = trained(5)
    e = sample(TASK, Shape(way=3, shot=(1, 3), query=2), Address.of("c"), range(10))
    output = learner.predict(learner.adapt(e.support), e.query).output
    centre = learner.buffers["centre"]

    def unit(x: torch.Tensor) -> torch.Tensor:
        z = features(learner, x) - centre
        return z / z.norm(dim=1, keepdim=True)

    for t in range(10):
        member = [e.support.mask[t] & (e.support.y[t] == c) for c in range(3)]
        centroids = torch.stack([unit(e.support.x[t, m]).mean(0) for m in member])
        distance = torch.cdist(unit(e.query.x[t]), centroids).square()
        assert torch.allclose(output[t], -distance, atol=1e-4)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (44, 0.1), (45, 0.01), (65, 0.01), (66, 0.001), (89, 0.001)]
)
def test_the_rate_falls_when_the_papers_does(step: int, rate: float) -> None:
    stream = stream_of(Clusters(shape=(4,)), SHAPE, steps=90)
    learner = SimpleShot(hidden=4)
    learner.setup(stream.info, 0, CPU)
    stream.used = stream.used.model_copy(update={"steps": step})
    learner.schedule(stream)
    assert learner.optimiser.param_groups[0]["lr"] == pytest.approx(rate)
