"""SNAIL: against the blocks of the paper run on whole sequences, and tiny tasks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support, one_hot
from metabench.learners.memory.context import linear
from metabench.learners.memory.snail import Snail
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=3, query=2)


def trained(task: TaskDistribution, shape: Shape, steps: int, channels: int) -> Snail:
    learner = Snail(channels=channels)
    stream = stream_of(task, shape, steps=steps)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    return learner


def whole(learner: Snail, x: Tensor) -> Tensor:
    """The paper's network on sequences [N, T, F]: dilated convolutions and masked attention."""
    p, i = learner.frozen, 0

    def attention(x: Tensor, key: int, value: int) -> Tensor:
        asked, keys, values = linear(p, f"{i}.attention", x).split((key, key, value), dim=-1)
        read = F.scaled_dot_product_attention(asked, keys, values, is_causal=True)
        return torch.cat([x, read], dim=-1)

    def convolution(x: Tensor, dilation: int) -> Tensor:
        kernel = torch.stack([p[f"{i}.past.weight"], p[f"{i}.present.weight"]], dim=-1)
        bias = p[f"{i}.past.bias"] + p[f"{i}.present.bias"]
        padded = F.pad(x.mT, (dilation, 0))
        filtered, gate = F.conv1d(padded, kernel, bias, dilation=dilation).mT.chunk(2, dim=-1)
        return torch.cat([x, filtered.tanh() * gate.sigmoid()], dim=-1)

    for sizes in learner.plan:
        x = attention(x, *sizes) if len(sizes) == 2 else convolution(x, *sizes)
        i += 1
    return linear(p, "output", x)


def test_each_query_is_the_last_element_of_the_papers_network_on_its_own_sequence() -> None:
    learner = trained(TASK, SHAPE, 3, 8)
    e = sample(TASK, SHAPE, Address.of("snail"), range(3))
    found = learner.predict(learner.adapt(e.support), e.query).output
    items = torch.cat([e.support.x, one_hot(e.support.y, 3)], dim=-1)
    for q in range(e.query.x.shape[1]):
        last = torch.cat([e.query.x[:, q : q + 1], torch.zeros(3, 1, 3)], dim=-1)
        expected = whole(learner, torch.cat([items, last], dim=1))[:, -1]
        torch.testing.assert_close(found[:, q], expected, atol=1e-5, rtol=1e-4)


def test_layers_are_the_papers_for_the_length_of_a_training_sequence() -> None:
    """Nine support items and a query: ceil(log2 10) convolutions in a block."""
    learner = trained(TASK, SHAPE, 1, 128)
    block = ((2,), (4,), (8,), (16,))
    assert learner.plan == ((64, 32), *block, (256, 128), *block, (512, 256))
    size = 6 + 3 + 32 + 4 * 128 + 128 + 4 * 128 + 256
    assert learner.parameters["output.weight"].shape == (3, size)


def test_sequences_longer_than_in_training_are_read() -> None:
    learner = trained(TASK, SHAPE, 1, 8)
    longer = sample(TASK, Shape(way=3, shot=20, query=1), Address.of("long"), range(2))
    assert learner.predict(learner.adapt(longer.support), longer.query).output.isfinite().all()


def test_clusters_are_told_apart_far_above_chance() -> None:
    task, shape = Clusters(shape=(4,), spread=3.0), Shape(way=2, shot=2, query=4)
    learner = trained(task, shape, 100, 16)
    e = sample(task, shape, Address.of("bound"), range(300))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output.argmax(-1) == e.query_y).float().mean()) > 0.8


def test_a_query_is_answered_by_the_targets_of_the_support_set() -> None:
    shape = Shape(shot=5, query=4)
    learner = trained(Sinusoid(), shape, 2, 8)
    e = sample(Sinusoid(), shape, Address.of("targets"), range(3))
    s = e.support
    shifted = Support(s.x, s.y + 1, s.mask, s.way)
    before = learner.predict(learner.adapt(s), e.query).output
    assert before.shape == (3, 4, 1)
    assert not torch.allclose(learner.predict(learner.adapt(shifted), e.query).output, before)
