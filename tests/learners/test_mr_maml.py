"""Meta-regularised MAML: divergences, meta-gradients with fixed noise, MAML as a special case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from metabench.episodes import Episodes
from metabench.learners.gradient.base import Items
from metabench.learners.gradient.mr_maml import MrMaml, divergence
from metabench.rng import Address
from metabench.tasks import sample
from tests.conftest import stream_of
from tests.learners.test_gradient import CASES, built, float64, in_float64

Parameters = dict[str, Tensor]


def case_of(case: str, **more: Any) -> tuple[MrMaml, Parameters, Episodes]:
    distribution, shape, parameters = CASES[case]
    small = {"filters": 3, "hidden": 7, "code": 4}
    learner = built("mr-maml", distribution, shape, **small, **parameters, **more)
    assert isinstance(learner, MrMaml)
    e = in_float64(sample(distribution, shape, Address.of("fd"), range(3)))
    generator = Address.of("fd", "start").torch_generator()
    p = {k: v + 0.3 * torch.randn(v.shape, generator=generator) for k, v in learner.frozen.items()}
    return learner, p, e


def of_fixed_noise(learner: MrMaml, p: Parameters, e: Episodes) -> tuple[Parameters, float]:
    learner.draws = torch.Generator().manual_seed(3)
    gradients, loss = learner.meta_gradient(p, e)
    return gradients, float(loss)


def test_the_divergence_is_that_of_gaussians() -> None:
    mean, deviation = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    expected = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0))
    assert torch.allclose(divergence(mean, deviation), expected, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("regulariser", ["weights", "activations"])
def test_the_meta_gradient_equals_finite_differences(regulariser: str, case: str) -> None:
    with float64():
        learner, p, e = case_of(case, regulariser=regulariser, beta=0.01, spread=-1.0)
        exact, _ = of_fixed_noise(learner, p, e)
        generator = Address.of("fd", "directions").torch_generator()
        for _ in range(4):
            d = {k: torch.randn(v.shape, generator=generator) for k, v in p.items()}
            slope = sum(float((exact[k] * d[k]).sum()) for k in p)
            step = 1e-6
            ahead = of_fixed_noise(learner, {k: p[k] + step * d[k] for k in p}, e)[1]
            behind = of_fixed_noise(learner, {k: p[k] - step * d[k] for k in p}, e)[1]
            assert slope == pytest.approx((ahead - behind) / (2 * step), rel=2e-5, abs=1e-7)


def test_without_divergence_and_noise_it_is_maml_on_codes() -> None:
    """Against autograd through a plain transcription of encoder, inner step and outer loss."""
    with float64():
        learner, p, e = case_of("regression", beta=0.0)
        p |= {k: torch.full_like(v, -50.0) for k, v in p.items() if ".spread." in k}
        found, loss = of_fixed_noise(learner, p, e)
        leaves = {k: v.clone().requires_grad_() for k, v in p.items()}

        def layer(q: Parameters, name: str, x: Tensor) -> Tensor:
            return F.linear(x, q[f"{name}.weight"], q[f"{name}.bias"])

        def output(fast: Parameters, x: Tensor) -> Tensor:
            z = layer(leaves, "encoder.code", layer(leaves, "encoder.layer0", x).relu())
            h = layer(fast, "layer1", layer(fast, "layer0", z).relu()).relu()
            return layer(fast, "head", h)

        losses = []
        for t in range(e.tasks):
            fast = {k: v for k, v in leaves.items() if not k.startswith("encoder.")}
            for _ in range(2):
                inner = (output(fast, e.support.x[t]) - e.support.y[t]).square().mean()
                slopes = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
                fast = {k: v - 0.05 * g for (k, v), g in zip(fast.items(), slopes, strict=True)}
            losses.append((output(fast, e.query.x[t]) - e.query_y[t]).square().mean())
        expected = torch.stack(losses).mean()
        expected.backward()
    assert loss == pytest.approx(float(expected.detach()))
    for key, leaf in leaves.items():
        target = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        assert torch.allclose(found[key], target, atol=1e-10), key


def test_the_divergence_of_weights_is_summed_and_that_of_activations_averaged() -> None:
    with float64():
        for regulariser in ("weights", "activations"):
            (plain, p, e), (full, _, _) = (
                case_of("regression", regulariser=regulariser, beta=beta, spread=-2.0)
                for beta in (0.0, 1.0)
            )
            added = of_fixed_noise(full, p, e)[1] - of_fixed_noise(plain, p, e)[1]
            if regulariser == "weights":
                kernels = [k for k in p if f"encoder.spread.{k.removeprefix('encoder.')}" in p]
                kernels = [k for k in kernels if k.startswith("encoder.")]
                assert kernels == ["encoder.layer0.weight", "encoder.code.weight"]
                each = [divergence(p[k], F.softplus(p[full.spread_of(k)])).sum() for k in kernels]
                expected = torch.stack(each).sum()
            else:
                means, deviations, _ = full.encode(p, e.query.x.flatten(0, 1), None, e.query.mask)
                expected = divergence(means, deviations).mean()
            assert added == pytest.approx(float(expected))


@pytest.mark.parametrize("regulariser", ["weights", "activations"])
def test_the_meta_test_uses_mean_codes(regulariser: str) -> None:
    learner, _, e = case_of("regression", regulariser=regulariser, spread=2.0)
    s, q = e.support, replace(e.query, x=e.query.x.float())
    s = replace(s, x=s.x.float(), y=s.y.float())
    found = learner.predict(learner.adapt(s), q)
    meta = learner.frozen
    for t in range(e.tasks):
        z, _, used = learner.encode(meta, s.x[t], None, s.mask[t])
        items = Items(z, s.y[t], s.mask[t], s.way[t])
        fast = learner.inner_loop(meta, items, learner.steps_at_test)
        z_query, _, _ = learner.encode(meta, q.x[t], used, q.mask[t])
        output, _ = learner.network.forward(meta | fast, z_query)
        assert torch.allclose(found.output[t], output, atol=1e-6)


def test_a_fresh_adam_steps_by_the_sign_of_the_gradient() -> None:
    distribution, shape, _ = CASES["regression"]
    learner = built("mr-maml", distribution, shape, meta_batch=2)
    stream = stream_of(distribution, shape)
    steps = learner.meta_fit(stream, 0)
    for _ in range(3):
        before = {k: v.clone() for k, v in learner.frozen.items()}
        next(steps)
        moved = torch.cat([(v - before[k]).flatten() for k, v in learner.frozen.items()]).abs()
        gradients = [p.grad for p in learner.parameters.values() if p.grad is not None]
        strong = torch.cat([g.flatten() for g in gradients]).abs() > 1e-4
        assert torch.allclose(moved[strong], torch.tensor(1e-3), rtol=0.01)
