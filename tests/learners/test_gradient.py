"""Every learner with an inner loop: finite differences, closed forms, first order, invariances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.episodes import Episodes, Query, Support, concatenate
from metabench.learners import LEARNERS
from metabench.learners.contract import TaskInfo
from metabench.learners.gradient.base import GradientLearner
from metabench.learners.gradient.maml_pp import step_weights
from metabench.learners.network import item_loss
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of

UNROLLED = ("maml", "maml-transductive", "anil", "boil", "meta-sgd", "maml++", "protomaml")
"""Learners whose meta-gradient is the derivative of the loss after the inner loop."""


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def built(name: str, distribution: TaskDistribution, shape: Shape, **kw: Any) -> GradientLearner:
    learner = LEARNERS.get(name)(**kw)
    learner.setup(stream_of(distribution, shape).info, 0, CPU)
    assert isinstance(learner, GradientLearner)
    return learner


def in_float64(e: Episodes) -> Episodes:
    s = e.support
    y, query_y = (t.double() if t.is_floating_point() else t for t in (s.y, e.query_y))
    support = Support(s.x.double(), y, s.mask, s.way)
    return Episodes(support, Query(e.query.x.double(), e.query.mask), query_y)


REGRESSION = (Sinusoid(), Shape(shot=5, query=5), {"inner_steps": 2, "inner_lr": 0.05})
IMAGES = (
    Clusters(shape=(1, 16, 16), spread=1.0),
    Shape(way=3, shot=2, query=2),
    {"inner_steps": 2, "inner_lr": 0.3},
)
CASES = {"regression": REGRESSION, "images": IMAGES}


def case_of(name: str, case: str) -> tuple[GradientLearner, dict[str, Tensor], Episodes]:
    distribution, shape, parameters = CASES[case]
    if distribution.kind not in LEARNERS.get(name).card.kinds:
        pytest.skip("not its kind of task")
    more = {"first_order_share": 0.0} if name == "maml++" else {}
    learner = built(name, distribution, shape, filters=3, hidden=7, **parameters, **more)
    e = in_float64(sample(distribution, shape, Address.of("fd"), range(3)))
    generator = Address.of("fd", "start").torch_generator()
    # Away from the tiny initialisation of the paper, where second derivatives nearly vanish.
    p = {k: v + 0.3 * torch.randn(v.shape, generator=generator) for k, v in learner.frozen.items()}
    return learner, p, e


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", UNROLLED)
def test_the_meta_gradient_equals_finite_differences(name: str, case: str) -> None:
    with float64():
        learner, p, e = case_of(name, case)
        exact, _ = learner.meta_gradient(p, e)
        generator = Address.of("fd", "directions").torch_generator()
        for _ in range(4):
            d = {k: torch.randn(v.shape, generator=generator) for k, v in p.items()}
            slope = sum(float((exact[k] * d[k]).sum()) for k in p)
            step = 1e-6
            ahead = learner.meta_gradient({k: p[k] + step * d[k] for k in p}, e)[1]
            behind = learner.meta_gradient({k: p[k] - step * d[k] for k in p}, e)[1]
            assert slope == pytest.approx(float(ahead - behind) / (2 * step), rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_first_order_maml_is_another_gradient(case: str) -> None:
    with float64():
        maml, p, e = case_of("maml", case)
        fomaml, _, _ = case_of("fomaml", case)
        second, loss = maml.meta_gradient(p, e)
        first, same_loss = fomaml.meta_gradient(p, e)
        assert float(loss) == pytest.approx(float(same_loss))
        gap = max(float((second[k] - first[k]).abs().max()) for k in p)
        assert gap > 1e-3 * max(float(v.abs().max()) for v in second.values())


class Linear:
    """y = h b x, or y = w x where there is no head: every derivative is known."""

    def forward(self, p: Any, x: Tensor, statistics: Any = None, mask: Any = None) -> Any:
        return (p["head.weight"] * p["body"] if "body" in p else p["w"]) * x, ()

    def loss(self, p: Any, x: Tensor, y: Tensor, mask: Tensor, way: Tensor) -> Any:
        return item_loss(self.forward(p, x)[0], y, mask, way), ()


RATE, X_S, X_Q, A = 0.1, 1.5, 0.7, 2.0


def quadratic(name: str, p: dict[str, float]) -> dict[str, float]:
    """The meta-gradient after one step on (x_s, a x_s), scored on (x_q, a x_q)."""
    with float64():
        learner = built(name, Sinusoid(), Shape(shot=1, query=1), inner_lr=RATE, hidden=2)
        learner.network = Linear()  # type: ignore[assignment]
        learner.names = tuple(k for k in p if not k.startswith("rate."))
        mask, way = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
        support = Support(torch.tensor([[[X_S]]]), torch.tensor([[[A * X_S]]]), mask, way)
        query = Query(torch.tensor([[[X_Q]]]), mask)
        e = Episodes(support, query, torch.tensor([[[A * X_Q]]]))
        found, _ = learner.meta_gradient({k: torch.tensor(v) for k, v in p.items()}, e)
        return {k: float(g) for k, g in found.items()}


def test_maml_and_fomaml_have_their_closed_forms_on_a_quadratic() -> None:
    """L(w) = q (w' - a)^2 with w' = w - 2 r s (w - a); first order drops one factor dw'/dw."""
    w, shrink = -0.4, 1 - 2 * RATE * X_S**2
    outer = 2 * X_Q**2 * (w - A) * shrink
    assert quadratic("maml", {"w": w}) == {"w": pytest.approx(outer * shrink)}
    assert quadratic("fomaml", {"w": w}) == {"w": pytest.approx(outer)}


def test_anil_has_its_closed_form_on_a_quadratic() -> None:
    """Only h moves: residual r c with r = h b - a and c = 1 - 2 rate b^2 x_s^2."""
    h, b = 0.6, -1.2
    r, c = h * b - A, 1 - 2 * RATE * b**2 * X_S**2
    outer = 2 * X_Q**2 * r * c
    found = quadratic("anil", {"head.weight": h, "body": b})
    assert found["head.weight"] == pytest.approx(outer * b * c)
    assert found["body"] == pytest.approx(outer * (h * c - 4 * RATE * b * X_S**2 * r))


def test_boil_has_its_closed_form_on_a_quadratic() -> None:
    """The same with the parts of head and body exchanged."""
    h, b = 0.6, -1.2
    r, c = h * b - A, 1 - 2 * RATE * h**2 * X_S**2
    outer = 2 * X_Q**2 * r * c
    found = quadratic("boil", {"head.weight": h, "body": b})
    assert found["body"] == pytest.approx(outer * h * c)
    assert found["head.weight"] == pytest.approx(outer * (b * c - 4 * RATE * h * X_S**2 * r))


def test_meta_sgd_has_its_closed_form_on_a_quadratic() -> None:
    """The rate has a gradient of its own: dw'/drate = -2 s (w - a)."""
    w, rate = -0.4, 0.07
    r, c = w - A, 1 - 2 * rate * X_S**2
    found = quadratic("meta-sgd", {"w": w, "rate.w": rate})
    assert found["w"] == pytest.approx(2 * X_Q**2 * r * c * c)
    assert found["rate.w"] == pytest.approx(2 * X_Q**2 * r * c * (-2 * X_S**2 * r))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", [*UNROLLED, "fomaml"])
def test_a_support_set_given_twice_takes_the_same_inner_steps(name: str, case: str) -> None:
    with float64():
        learner, _, e = case_of(name, case)
        once = learner.adapt(e.support)
        twice = learner.adapt(concatenate(e.support, e.support))
        for key, value in once.own.items():
            assert torch.allclose(value, twice.own[key], atol=1e-9), key


@pytest.mark.parametrize("name", UNROLLED)
def test_tasks_lifted_by_vmap_equal_tasks_in_a_loop(name: str) -> None:
    with float64():
        learner, p, e = case_of(name, "images")
        assert learner.loops
        loop, loop_loss = learner.meta_gradient(p, e)
        learner.loops = False
        lifted, loss = learner.meta_gradient(p, e)
    assert float(loss) == pytest.approx(float(loop_loss))
    for key, value in lifted.items():
        assert torch.allclose(value, loop[key], atol=1e-10), key


@pytest.mark.parametrize(
    ("name", "moves"),
    [("anil", {"head.weight", "head.bias"}), ("boil", {"layer0", "layer1"})],
)
def test_only_the_named_half_adapts(name: str, moves: set[str]) -> None:
    learner, _, e = case_of(name, "regression")
    support = Support(e.support.x.float(), e.support.y.float(), e.support.mask, e.support.way)
    assert {k if "head" in k else k.partition(".")[0] for k in learner.adapt(support).own} == moves


def test_the_head_of_protomaml_starts_as_protonet() -> None:
    """Before any step the logits are squared distances to prototypes, up to a constant."""
    with float64():
        learner, p, e = case_of("protomaml", "images")
        learner.parameters = p
        learner.steps_at_test = 0
        state = learner.adapt(e.support)
        logits = learner.predict(state, e.query).output
        backbone = learner.network.backbone
        for t in range(e.tasks):
            z, statistics = backbone(p, e.support.x[t])
            means = torch.stack([z[e.support.y[t] == c].mean(0) for c in range(3)])
            zq, _ = backbone(p, e.query.x[t], statistics)
            expected = -torch.cdist(zq, means).square() + zq.square().sum(1, keepdim=True)
            assert torch.allclose(logits[t], expected, atol=1e-8)


def test_the_weights_of_the_multi_step_loss_move_to_the_last_step() -> None:
    assert step_weights(4, 0.0).tolist() == [0.25] * 4
    assert float(step_weights(4, 0.5).sum()) == pytest.approx(1.0)
    assert step_weights(4, 2.0).tolist() == pytest.approx([0.0075] * 3 + [0.9775])


def test_maml_pp_anneals_its_order_and_its_rate() -> None:
    distribution, shape, parameters = REGRESSION
    learner = built("maml++", distribution, shape, hidden=4, meta_batch=2, **parameters)
    stream = stream_of(distribution, shape, steps=9)
    seen = []
    for step in range(9):
        stream.used = stream.used.model_copy(update={"steps": step})
        learner.schedule(stream)
        seen.append((learner.first_order, learner.optimiser.param_groups[0]["lr"]))
    assert [first for first, _ in seen] == [True] * 3 + [False] * 6
    assert all(a[1] > b[1] for a, b in pairwise(seen))
    assert seen[0][1] == pytest.approx(1e-3)


def test_classes_beyond_those_trained_start_alike() -> None:
    distribution = Clusters(shape=(8,))
    info = TaskInfo("classification", (8,), 0, Shape(way=3, shot=1, query=2), 6)
    for name in ("maml", "meta-sgd"):
        learner = LEARNERS.get(name)()
        learner.setup(info, 0, CPU)
        e = sample(distribution, Shape(way=6, shot=1, query=2), Address.of("wide"), range(4))
        wide = learner.widened(learner.frozen, e.support)
        for key in learner.per_class:
            assert torch.allclose(wide[key][3:], wide[key][:3].mean(0, keepdim=True)), key
        assert learner.predict(learner.adapt(e.support), e.query).output.shape == (4, 12, 6)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("maml", {}), ("meta-sgd", {}), ("maml++", {"inner_steps": 2}), ("anil", {"inner_lr": 0.1})],
)
def test_meta_training_learns_from_the_support(name: str, parameters: dict[str, Any]) -> None:
    """The best predictor that ignores the support has risk 3.005."""
    shape = Shape(shot=10, query=10)
    stream = stream_of(Sinusoid(), shape)
    learner = built(name, Sinusoid(), shape, **parameters)
    test = sample(Sinusoid(), shape, Address.of("test"), range(200))
    steps = learner.meta_fit(stream, 0)  # type: ignore[attr-defined]
    for _ in range(1500):
        next(steps)
    output = learner.predict(learner.adapt(test.support), test.query).output
    assert float((output - test.query_y).square().mean()) < 2.5
