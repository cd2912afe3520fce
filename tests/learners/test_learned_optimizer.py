"""The learned optimiser: preprocessing, coordinates, derivatives, and that it optimises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.learners.gradient.base import Items
from metabench.learners.gradient.learned_optimizer import LearnedOptimizer, lstm, preprocessed
from metabench.learners.network import item_loss
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid
from tests.learners.test_gradient import CASES, built, float64, in_float64


def optimiser(case: str = "regression", **parameters: Any) -> LearnedOptimizer:
    distribution, shape, _ = CASES[case]
    learner = built("learned-optimizer", distribution, shape, hidden=5, **parameters)
    assert isinstance(learner, LearnedOptimizer)
    return learner


def test_preprocessing_is_that_of_appendix_a() -> None:
    gradients = np.array([0.0, 1e-9, -2e-5, 4.6e-5, -1e-3, 0.5, -40.0])
    large = np.abs(gradients) >= np.exp(-10.0)
    size = np.where(large, np.log(np.abs(np.where(large, gradients, 1.0))) / 10.0, -1.0)
    sign = np.where(large, np.sign(gradients), np.exp(10.0) * gradients)
    found = preprocessed(torch.from_numpy(gradients))
    assert np.allclose(found.numpy(), np.stack([size, sign], axis=1))


def test_the_cell_is_an_lstm() -> None:
    cell = torch.nn.LSTMCell(2, 5)
    x, h, c = torch.randn(7, 2), torch.randn(7, 5), torch.randn(7, 5)
    weight = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)
    found = lstm(weight, cell.bias_ih + cell.bias_hh, x, h, c)
    for mine, theirs in zip(found, cell(x, (h, c)), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_permuting_the_weights_permutes_their_updates() -> None:
    with float64():
        learner = optimiser()
        learner.names = ("w",)
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(9, generator=generator)
        gradients = [torch.randn(9, generator=generator) for _ in range(3)]
        w = torch.randn(9, generator=generator)

        def after(w: Tensor, gradients: list[Tensor]) -> Tensor:
            fast = {"w": w, "state": torch.zeros(4, 9, learner.units)}
            for step, g in enumerate(gradients):
                fast = learner.updated(learner.frozen, fast, {"w": g}, step)
            return fast["w"]

        permuted = after(w[order], [g[order] for g in gradients])
        assert torch.allclose(permuted, after(w, gradients)[order], atol=1e-12)
        assert not torch.allclose(permuted, after(w, gradients), atol=1e-3)


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_meta_gradient_holds_the_gradients_it_was_given_constant(
    case: str, learned_start: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite differences of the same unrolled steps, with the gradients of the first run."""
    with float64():
        learner = optimiser(case, inner_steps=3, learned_start=learned_start)
        distribution, shape, _ = CASES[case]
        e = in_float64(sample(distribution, shape, Address.of("fd"), range(2)))
        learner.loops = True
        slope, met = LearnedOptimizer.slope, []

        def recording(*arguments: Any) -> dict[str, Tensor]:
            met.append(slope(learner, *arguments))
            return met[-1]

        monkeypatch.setattr(learner, "inner", recording)
        p = learner.frozen
        learner.draws = torch.Generator().manual_seed(1)
        exact, _ = learner.meta_gradient(p, e)
        given = list(met)

        def loss(p: dict[str, Tensor]) -> float:
            replay = iter(given)
            monkeypatch.setattr(learner, "inner", lambda *_: next(replay))
            learner.draws.manual_seed(1)
            return float(learner.meta_gradient(p, e)[1])

        generator = Address.of("fd", "directions").torch_generator()
        for _ in range(3):
            d = {k: torch.randn(v.shape, generator=generator) for k, v in exact.items()}
            expected = sum(float((exact[k] * d[k]).sum()) for k in exact)
            ahead, behind = (loss(p | {k: p[k] + s * d[k] for k in d}) for s in (1e-6, -1e-6))
            assert expected == pytest.approx((ahead - behind) / 2e-6, rel=2e-5, abs=1e-7)


def test_networks_start_anew_in_every_training_task_and_alike_at_meta_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = optimiser(inner_steps=1)
    e = sample(Sinusoid(), Shape(shot=5, query=5), Address.of("start"), range(3))
    starts = []
    start = LearnedOptimizer.start

    def spy(meta: dict[str, Tensor], support: Any) -> dict[str, Tensor]:
        starts.append(meta["head.weight"])
        return start(learner, meta, support)

    monkeypatch.setattr(learner, "start", spy)
    learner.loops = True
    learner.draws = torch.Generator().manual_seed(0)
    learner.meta_gradient(learner.frozen, e)
    assert not torch.allclose(starts[0], starts[1])
    starts.clear()
    learner.adapt(e.support)
    assert all(torch.equal(s, learner.buffers["head.weight"]) for s in starts)
    assert optimiser(learned_start=True).buffers == {}


class Quadratic:
    """|W theta - y|^2 in ten dimensions (section 3.1): x is W, and the network its parameters."""

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {"theta": torch.randn(10, generator=generator)}

    def forward(self, p: Any, x: Tensor, *_: object) -> Any:
        return (x @ p["theta"])[:, None], ()

    def loss(self, p: Any, x: Tensor, y: Tensor, mask: Tensor, way: Tensor) -> Any:
        return item_loss(self.forward(p, x)[0], y, mask, way), ()


def quadratics(count: int, seed: int) -> Episodes:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 10, 10, generator=generator)
    y = torch.randn(count, 10, 1, generator=generator)
    mask, way = torch.ones(count, 10, dtype=torch.bool), torch.zeros(count, dtype=torch.int64)
    return Episodes(Support(x, y, mask, way), Query(x, mask), y)


def test_it_minimises_quadratics_faster_than_gradient_descent_at_its_best_rate() -> None:
    learner = optimiser(inner_steps=20, meta_lr=0.02)
    learner.network, learner.names = Quadratic(), ("theta",)  # type: ignore[assignment]
    learner.buffers = {"theta": torch.zeros(10)}
    for step in range(100):
        learner.draws = torch.Generator().manual_seed(step)
        gradients, loss = learner.meta_gradient(learner.frozen, quadratics(16, step))
        learner.update(loss, gradients)
    s = quadratics(24, 10_000).support
    start = torch.randn(24, 10, generator=torch.Generator().manual_seed(1))

    def risk(theta: Tensor) -> float:
        return float((s.x @ theta[..., None] - s.y).square().mean())

    def descended(rate: float) -> float:
        theta = start
        for _ in range(20):
            theta = theta - rate / 5 * (s.x.mT @ (s.x @ theta[..., None] - s.y)).squeeze(-1)
        return risk(theta)

    arrived = [
        learner.inner_loop(learner.frozen | {"theta": first}, Items(*items), 20)["theta"]
        for first, items in zip(start, zip(s.x, s.y, s.mask, s.way, strict=True), strict=True)
    ]
    best = min(descended(rate) for rate in (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3))
    assert risk(torch.stack(arrived)) < best < risk(start)
