"""ANP: the attention and the divergence against torch's own, the latent, and a tiny task."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from metabench.learners.memory.anp import Anp, divergence
from metabench.learners.memory.cnp import Labelled, normal
from metabench.learners.memory.context import mlp
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

SHAPE = Shape(shot=5, query=4)


def made(**more: float) -> Anp:
    learner = Anp(**{"width": 16, "heads": 4, **more})  # type: ignore[arg-type]
    learner.setup(stream_of(Sinusoid(), SHAPE).info, 0, CPU)
    return learner


def test_the_deterministic_path_is_multi_head_attention_as_torch_has_it() -> None:
    learner = made()
    p, e = learner.frozen, sample(Sinusoid(), SHAPE, Address.of("anp"), range(3))
    state = learner.adapt(e.support)
    keys = mlp(p, "keys", e.support.x)
    values = mlp(p, "values", torch.cat([e.support.x, e.support.y], dim=-1))
    names = ("queries", "keys", "values")
    found, _ = F.multi_head_attention_forward(
        mlp(p, "keys", e.query.x).transpose(0, 1),
        keys.transpose(0, 1),
        values.transpose(0, 1),
        embed_dim_to_check=16,
        num_heads=4,
        in_proj_weight=None,
        in_proj_bias=torch.cat([p[f"project_{name}.0.bias"] for name in names]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=p["project_found.0.weight"],
        out_proj_bias=p["project_found.0.bias"],
        use_separate_proj_weight=True,
        q_proj_weight=p["project_queries.0.weight"],
        k_proj_weight=p["project_keys.0.weight"],
        v_proj_weight=p["project_values.0.weight"],
    )
    latent = state.latent[:, None].expand(-1, 4, -1)
    expected = mlp(p, "decoder", torch.cat([found.transpose(0, 1), latent, e.query.x], dim=-1))
    torch.testing.assert_close(learner.scores(p, state, e.query.x), expected)


def test_the_divergence_is_that_of_normal_distributions() -> None:
    draws = Address.of("kl").torch_generator()
    a, b = (torch.randn(5, 3, generator=draws) for _ in range(2))
    c, d = (torch.rand(5, 3, generator=draws) + 0.1 for _ in range(2))
    expected = kl_divergence(Normal(a, c), Normal(b, d)).sum(-1)
    torch.testing.assert_close(divergence(a, c, b, d), expected)
    assert torch.equal(divergence(a, c, a, c), torch.zeros(5))


def test_training_draws_the_latent_and_prediction_takes_its_mean_given_the_support() -> None:
    learner = made()
    e = sample(Sinusoid(), SHAPE, Address.of("latent"), range(3))
    losses = []
    for seed in (0, 0, 1):
        learner.draws = torch.Generator().manual_seed(seed)
        losses.append(float(learner.meta_loss(learner.frozen, e)[0]))
    assert losses[0] == losses[1] != losses[2]
    s = e.support
    mean, _ = learner.latent(learner.frozen, Labelled(s.x, s.y, s.mask))
    assert torch.equal(learner.adapt(s).latent, mean)


def test_sinusoids_are_predicted_better_than_without_a_support_set() -> None:
    """The best predictor that ignores the support set has an error of 3.005."""
    shape = Shape(shot=10, query=10)
    learner = Anp(width=32, heads=4, meta_lr=1e-3)
    stream = stream_of(Sinusoid(), shape, steps=600)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    e = sample(Sinusoid(), shape, Address.of("sinusoid"), range(400))
    state = learner.adapt(e.support)
    output = learner.predict(state, e.query).output
    assert float((output - e.query_y).square().mean()) < 2.0
    mean, _ = normal(learner.scores(learner.frozen, state, e.query.x))
    torch.testing.assert_close(mean, output, rtol=1e-4, atol=1e-5)


def test_clusters_are_told_apart_far_above_chance() -> None:
    task, shape = Clusters(shape=(4,), spread=3.0), Shape(way=2, shot=2, query=4)
    learner = Anp(width=32, heads=4, meta_lr=1e-3)
    stream = stream_of(task, shape, steps=300)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    e = sample(task, shape, Address.of("bound"), range(300))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output.argmax(-1) == e.query_y).float().mean()) > 0.8
