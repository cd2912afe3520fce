"""Evolution of initial weights and rates: the estimate of the gradient, and what is inherited."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from metabench.learners.gradient.baldwin import Baldwin, evolution_gradient, shaped
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import stream_of
from tests.learners.test_gradient import built, float64


def test_the_estimate_converges_to_the_smoothed_gradient() -> None:
    """L(x) = |x|^4 smoothed by N(0, s^2) in D dimensions has the gradient 4 x (|x|^2 + (D+2) s^2).

    The gradient of L itself is a tenth of it at this sigma.
    """
    with float64():
        x, sigma = torch.tensor([0.3, -0.2, 0.1]), 0.5
        square = float(x.square().sum())
        smoothed = 4 * x * (square + 5 * sigma**2)

        def error(pairs: int) -> float:
            noise = {"x": torch.randn(pairs, 3, generator=torch.Generator().manual_seed(0))}
            found, _ = evolution_gradient(
                lambda p: p["x"].square().sum(1).square(), {"x": x}, noise, sigma, None
            )
            return float((found["x"] - smoothed).norm() / smoothed.norm())

        assert float((4 * x * square - smoothed).norm() / smoothed.norm()) > 0.8
        assert error(1_000_000) < 0.01 < error(300)


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=9), st.booleans())
def test_ranks_see_the_order_of_losses_only(values: list[int], cube: bool) -> None:
    losses = torch.tensor(values, dtype=torch.float64)
    ranks = shaped(losses, "ranks")
    assert torch.equal(ranks, shaped(losses.pow(3) if cube else 3 * losses + 1, "ranks"))
    assert float(ranks.sum()) == pytest.approx(0, abs=1e-12)
    assert ranks.abs().max() <= 0.5
    assert (ranks[losses.argmax()] >= ranks).all()


def test_standard_scores_have_mean_zero_and_deviation_one() -> None:
    scores = shaped(torch.tensor([1.0, 4.0, -2.0, 9.0]), "standardised")
    assert float(scores.mean()) == pytest.approx(0, abs=1e-6)
    assert float(scores.square().mean()) == pytest.approx(1)
    assert torch.equal(shaped(torch.full((4,), 3.0), "standardised"), torch.zeros(4))


def test_what_a_lifetime_acquires_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Individuals learn, but all are equally fit: Lamarck's genome would move, this one stays."""
    shape = Shape(shot=5, query=5)
    learner = built("baldwin", Sinusoid(), shape, pairs=4, meta_batch=3, inner_lr=0.1)
    assert isinstance(learner, Baldwin)
    acquired = []

    def equally_fit(meta: object, fast: dict[str, Tensor], *_: object) -> Tensor:
        acquired.append(fast["head.bias"])
        return 0 * fast["head.bias"].sum()

    monkeypatch.setattr(learner, "query_loss", equally_fit)
    learner.fuse(False)
    before = {k: v.clone() for k, v in learner.frozen.items()}
    next(learner.meta_fit(stream_of(Sinusoid(), shape), 0))
    assert acquired
    assert all(torch.equal(v, before[k]) for k, v in learner.frozen.items())
    e = sample(Sinusoid(), shape, Address.of("lifetime"), range(1))
    assert not torch.equal(learner.adapt(e.support).own["head.bias"][0], before["head.bias"])


def test_fitness_is_what_is_scored_after_the_lifetime() -> None:
    """With the tasks' own noise fixed, losses are those of each genome's inner loop."""
    shape = Shape(shot=5, query=5)
    learner = built("baldwin", Sinusoid(), shape, pairs=3, sigma=0.1)
    assert isinstance(learner, Baldwin)
    e = sample(Sinusoid(), shape, Address.of("fitness"), range(2))
    learner.draws = torch.Generator().manual_seed(5)
    _, loss = learner.meta_gradient(learner.frozen, e)
    learner.draws.manual_seed(5)
    noise = {
        k: torch.randn((3, *p.shape), generator=learner.draws) for k, p in learner.frozen.items()
    }
    first, each = learner.frozen, []
    for i in range(3):
        for sign in (0.1, -0.1):
            genome = {k: p + sign * noise[k][i] for k, p in first.items()}
            learner.parameters = genome
            state = learner.adapt(e.support)
            output = learner.predict(state, e.query).output
            each.append(float((output - e.query_y).square().mean()))
    assert float(loss) == pytest.approx(sum(each) / 6, rel=1e-5)


def test_evolution_learns_to_learn() -> None:
    """The best predictor that ignores the support has risk 3.005; zero has 4.25."""
    shape, sizes = Shape(shot=10, query=10), {"meta_batch": 8, "pairs": 24, "meta_lr": 0.03}
    stream = stream_of(Sinusoid(), shape)
    learner = built("baldwin", Sinusoid(), shape, **sizes)
    training = learner.meta_fit(stream, 0)
    for step in range(100):
        next(training)
        stream.used = stream.used.model_copy(update={"steps": step + 1})
    test = sample(Sinusoid(), shape, Address.of("test"), range(200))
    output = learner.predict(learner.adapt(test.support), test.query).output
    assert float((output - test.query_y).square().mean()) < 3.0
