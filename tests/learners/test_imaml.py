"""Implicit MAML: exact implicit gradients, and no use of the inner loop's path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, hessian
from torch.nn.utils import parameters_to_vector

from metabench.episodes import Episodes, Query, Support
from metabench.learners.gradient.base import Items
from metabench.learners.gradient.imaml import Imaml, conjugate_gradients
from metabench.learners.network import item_loss
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid
from tests.learners.test_gradient import Linear, built, float64, in_float64


class Smooth:
    """One hidden layer of tanh: a network with a Hessian everywhere."""

    net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    def forward(self, p: dict[str, Tensor], x: Tensor, *_: object) -> tuple[Tensor, tuple[()]]:
        return functional_call(self.net, {k: p[k] for k, _ in self.net.named_parameters()}, x), ()

    def loss(
        self, p: dict[str, Tensor], x: Tensor, y: Tensor, mask: Tensor, way: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return item_loss(self.forward(p, x)[0], y, mask, way), ()


def imaml(network: object, names: tuple[str, ...], **parameters: float) -> Imaml:
    learner = built("imaml", Sinusoid(), Shape(shot=5, query=5), **parameters)
    assert isinstance(learner, Imaml)
    learner.network, learner.names = network, names  # type: ignore[assignment]
    return learner


def test_the_meta_gradient_of_a_quadratic_has_its_closed_form() -> None:
    """y = w x: phi = (s a + l/2 w) / (s + l/2), dphi/dw = (1 + 2 s / l)^-1, s = x_s^2."""
    w, a, x_s, x_q, pull = -0.4, 2.0, 1.5, 0.7, 2.0
    with float64():
        learner = imaml(Linear(), ("w",), strength=pull, inner_steps=200, inner_lr=0.1)
        mask, way = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
        support = Support(torch.tensor([[[x_s]]]), torch.tensor([[[a * x_s]]]), mask, way)
        query = Query(torch.tensor([[[x_q]]]), mask)
        e = Episodes(support, query, torch.tensor([[[a * x_q]]]))
        found, loss = learner.meta_gradient({"w": torch.tensor(w)}, e)
    s = x_s**2
    phi = (s * a + pull / 2 * w) / (s + pull / 2)
    assert float(loss) == pytest.approx((x_q * (phi - a)) ** 2)
    assert float(found["w"]) == pytest.approx(2 * x_q**2 * (phi - a) / (1 + 2 * s / pull))


def smooth_case(**parameters: float) -> tuple[Imaml, dict[str, Tensor], Episodes]:
    generator = Address.of("imaml", "smooth").torch_generator()
    meta = {
        k: 0.7 * torch.randn(p.shape, generator=generator) for k, p in Smooth.net.named_parameters()
    }
    e = sample(Sinusoid(amplitude=(0.5, 1.0)), Shape(shot=5, query=5), Address.of("s"), range(2))
    return imaml(Smooth(), tuple(meta), **parameters), meta, in_float64(e)


def test_the_meta_gradient_of_a_smooth_network_solves_the_linear_system() -> None:
    """(I + H/lambda)^-1 g by a dense solve, and conjugate gradients get there step by step."""
    pull = 2.0
    with float64():
        learner, meta, e = smooth_case(strength=pull, inner_steps=50, inner_lr=0.05, cg_steps=13)
        s, q = e.support, e.query
        exact = torch.zeros(sum(p.numel() for p in meta.values()))
        for t in range(e.tasks):
            end = learner.inner_loop(meta, Items(s.x[t], s.y[t], s.mask[t], s.way[t]), 50)

            def of(vector: Tensor, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
                parts = vector.split([p.numel() for p in meta.values()])
                p = {k: v.view(meta[k].shape) for k, v in zip(meta, parts, strict=True)}
                return learner.network.loss(p, x, y, mask, s.way[0])[0]

            at = parameters_to_vector(end.values())
            curvature = hessian(of)(at, s.x[t], s.y[t], s.mask[t])
            slope = torch.func.grad(of)(at, q.x[t], e.query_y[t], q.mask[t])
            matrix = torch.eye(len(at)) + curvature / pull
            assert torch.linalg.eigvalsh(matrix).min() > 0
            exact += torch.linalg.solve(matrix, slope) / e.tasks
        errors = []
        for steps in (0, 2, 5, 13):
            learner.cg_steps = steps
            found = parameters_to_vector(learner.meta_gradient(meta, e)[0].values())
            errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] > 0.1 > errors[1] > errors[2]
    assert errors[-1] < 1e-6


def test_it_is_the_gradient_of_the_loss_at_the_minimum() -> None:
    """Finite differences of the query loss of an inner problem that has been solved."""
    with float64():
        learner, meta, e = smooth_case(strength=2.0, inner_steps=300, inner_lr=0.2, cg_steps=20)
        found, _ = learner.meta_gradient(meta, e)
        for key in meta:
            d = torch.zeros_like(meta[key])
            d.view(-1)[0] = 1e-5
            ahead = learner.meta_gradient(meta | {key: meta[key] + d}, e)[1]
            behind = learner.meta_gradient(meta | {key: meta[key] - d}, e)[1]
            slope = float(ahead - behind) / 2e-5
            assert float(found[key].view(-1)[0]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_only_the_end_of_the_inner_loop_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end given as plain numbers, without a path that memory could hold."""
    with float64():
        learner, meta, e = smooth_case(inner_steps=4, inner_lr=0.1)
        learner.loops = True
        expected, _ = learner.meta_gradient(meta, e)
        s = e.support
        ends = [
            {k: v.numpy().copy() for k, v in learner.inner_loop(meta, items, 4).items()}
            for items in map(Items, s.x, s.y, s.mask, s.way)
        ]
        given = iter(ends)
        monkeypatch.setattr(
            learner,
            "inner_loop",
            lambda *_: {k: torch.from_numpy(v) for k, v in next(given).items()},
        )
        found, _ = learner.meta_gradient(meta, e)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_conjugate_gradients_stop_where_the_curvature_is_negative() -> None:
    def matrix(v: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"a": torch.tensor([2.0, -3.0]) * v["a"]}

    b = {"a": torch.tensor([0.0, 1.0])}
    assert torch.equal(conjugate_gradients(matrix, b, 3)["a"], b["a"])
    solved = conjugate_gradients(matrix, {"a": torch.tensor([1.0, 0.0])}, 3)["a"]
    assert torch.allclose(solved, torch.tensor([0.5, 0.0]))
