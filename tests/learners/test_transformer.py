"""The in-context transformer: against torch's attention on all tokens at once, and tiny tasks."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from metabench.episodes import Support
from metabench.learners.memory.context import heads, linear
from metabench.learners.memory.transformer import Transformer, norm
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

SHAPE = Shape(shot=5, query=4)


def trained(task: TaskDistribution, shape: Shape, steps: int, **sizes: int) -> Transformer:
    learner = Transformer(meta_lr=1e-3, **sizes)
    stream = stream_of(task, shape, steps=steps)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    return learner


def test_it_is_one_masked_transformer_over_support_and_query_tokens() -> None:
    learner = trained(Sinusoid(), SHAPE, 3, width=16, layers=3, heads=2)
    p, e = learner.frozen, sample(Sinusoid(), SHAPE, Address.of("tokens"), range(3))
    s = e.support
    items = linear(p, "item", s.x) + linear(p, "label", s.y)
    tokens = torch.cat([items, linear(p, "item", e.query.x) + p["unknown"]], dim=1)
    allowed = torch.zeros(9, 9, dtype=torch.bool)
    allowed[:, :5] = True
    allowed[5:, 5:] = torch.eye(4, dtype=torch.bool)
    for i in range(3):
        joint = linear(p, f"{i}.attention", norm(p, f"{i}.before_attention", tokens))
        asked, keys, values = (heads(part, 2) for part in joint.chunk(3, dim=-1))
        found = F.scaled_dot_product_attention(asked, keys, values, attn_mask=allowed)
        tokens = tokens + linear(p, f"{i}.found", found.transpose(1, 2).flatten(2))
        wide = F.gelu(linear(p, f"{i}.wide", norm(p, f"{i}.before_mlp", tokens)))
        tokens = tokens + linear(p, f"{i}.narrow", wide)
    expected = linear(p, "output", norm(p, "last", tokens))[:, 5:]
    found = learner.predict(learner.adapt(s), e.query).output
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_query_is_answered_by_the_labels_of_the_support_set() -> None:
    learner = trained(Sinusoid(), SHAPE, 3, width=16, layers=2, heads=2)
    e = sample(Sinusoid(), SHAPE, Address.of("labels"), range(3))
    s = e.support
    shifted = Support(s.x, s.y + 1, s.mask, s.way)
    before = learner.predict(learner.adapt(s), e.query).output
    assert not torch.allclose(learner.predict(learner.adapt(shifted), e.query).output, before)


def test_sinusoids_are_predicted_better_than_without_a_support_set() -> None:
    """The best predictor that ignores the support set has an error of 3.005."""
    shape = Shape(shot=10, query=10)
    learner = trained(Sinusoid(), shape, 600, width=32, layers=2, heads=4)
    e = sample(Sinusoid(), shape, Address.of("sinusoid"), range(400))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output - e.query_y).square().mean()) < 2.5


def test_clusters_are_told_apart_far_above_chance() -> None:
    task, shape = Clusters(shape=(4,), spread=3.0), Shape(way=2, shot=2, query=4)
    learner = trained(task, shape, 300, width=32, layers=2, heads=4)
    e = sample(task, shape, Address.of("bound"), range(300))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output.argmax(-1) == e.query_y).float().mean()) > 0.8
