"""CPU and CUDA agree, where there is a CUDA device."""

from __future__ import annotations

import pytest
import torch

from metabench.episodes import to_device
from metabench.learners import LEARNERS
from metabench.learners.contract import TaskInfo
from metabench.rng import Address
from metabench.scoring import same
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.glyphs import Glyphs
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")
IMAGES = (Clusters(shape=(1, 28, 28), spread=1.0), Shape(way=5, shot=1, query=3))
NUMBERS = (Sinusoid(), Shape(shot=5, query=3))


@pytest.mark.parametrize(
    ("task", "shape"), [(Glyphs(), IMAGES[1]), (Sinusoid(), NUMBERS[1])], ids=["glyphs", "sinusoid"]
)
def test_episodes_are_the_same_bits_on_both(task: TaskDistribution, shape: Shape) -> None:
    here = sample(task, shape, Address.of("cuda"), range(100), CPU)
    there = to_device(sample(task, shape, Address.of("cuda"), range(100), CUDA), CPU)
    assert torch.equal(here.support.x, there.support.x)
    assert torch.equal(here.query.x, there.query.x)
    assert torch.equal(here.query_y, there.query_y)


@pytest.mark.parametrize("name", list(LEARNERS))
@pytest.mark.parametrize(("task", "shape"), [IMAGES, NUMBERS], ids=["images", "numbers"])
def test_a_learner_predicts_alike_on_both(name: str, task: TaskDistribution, shape: Shape) -> None:
    learner_class = LEARNERS.get(name)
    if task.kind not in learner_class.card.kinds:
        pytest.skip("not its kind of task")
    way = shape.way if isinstance(shape.way, int) else shape.way[1]
    info = TaskInfo(task.kind, task.input_shape, task.output_dim, shape, way)
    outputs = []
    for device in (CPU, CUDA):
        learner = learner_class()
        learner.setup(info, 0, device)
        stream = stream_of(task, shape, steps=2)
        stream.device = device
        train(learner, stream, 0)
        e = to_device(sample(task, shape, Address.of("cuda", "test"), range(8)), device)
        outputs.append(learner.predict(learner.adapt(e.support), e.query).output.detach().cpu())
    # A hundred Adam steps amplify the last bit of a sum; one forward pass does not.
    assert same(*outputs, tolerance=0.05 if name == "scratch" else 5e-3)
