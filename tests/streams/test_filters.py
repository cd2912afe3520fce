"""Exact filters: against closed forms, against enumeration, and against everybody else."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.streams.filters import filtered, kalman_gain, regime_filter, run_length_filter
from metabench.tasks.drift import StreamSpec, draw_streams
from metabench.tasks.harmonics import Harmonics
from metabench.tasks.linear import Linear
from metabench.tasks.sinusoid import Sinusoid

ADDRESS = Address.of("tests", "filters")


WALKS, LENGTH = 16, 1500


def random_walks(q: float, r: float) -> tuple[Tensor, Tensor]:
    """States [N, L] that walk from N(0, 1), and what is seen of them."""
    generator = ADDRESS.child("walk").torch_generator()
    steps, noise = torch.randn(2, WALKS, LENGTH, generator=generator, dtype=torch.float64)
    steps[:, 1:] *= math.sqrt(q)
    state = steps.cumsum(1)
    return state, state + math.sqrt(r) * noise


def filter_walks(y: Tensor) -> Tensor:
    features = torch.ones(WALKS, LENGTH, 1, dtype=torch.float64)
    return run_length_filter(features, y, 0.5, innovation=0.01)


def test_the_gain_and_the_error_of_a_random_walk_are_the_published_ones() -> None:
    gain, before = kalman_gain(0.01, 0.25)
    assert gain == pytest.approx(0.181, abs=5e-4)
    assert before == pytest.approx(0.0552, abs=6e-5)


def test_the_filter_of_a_random_walk_settles_at_the_kalman_gain() -> None:
    state, y = random_walks(0.01, 0.25)
    found = filter_walks(y)
    gain, before = kalman_gain(0.01, 0.25)
    change, error = found[:, 201:] - found[:, 200:-1], (y - found)[:, 200:-1]
    assert torch.allclose(change, gain * error, atol=1e-9)
    mse = (found - state).square()[:, 200:].mean().item()
    assert mse == pytest.approx(before, rel=0.05)


def test_the_best_exponential_average_of_a_random_walk_is_the_filter() -> None:
    state, y = random_walks(0.01, 0.25)
    gain, _ = kalman_gain(0.01, 0.25)
    rates = torch.linspace(0.05, 0.5, 46, dtype=torch.float64)
    average, errors = torch.zeros(WALKS, 46, dtype=torch.float64), []
    for t in range(LENGTH):
        errors.append((average - state[:, t, None]).square())
        average = average + rates * (y[:, t, None] - average)
    mse = torch.stack(errors)[200:].mean((0, 1))
    assert float(rates[mse.argmin()]) == pytest.approx(gain, abs=0.025)
    found = (filter_walks(y) - state).square()[:, 200:].mean()
    assert found == pytest.approx(float(mse.min()), rel=0.01)


@given(
    hazard=st.floats(0.01, 0.9),
    noise=st.floats(0.1, 2.0),
    q=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=20, deadline=None)
def test_the_filter_is_the_mean_over_every_history_of_switches(
    hazard: float, noise: float, q: float, seed: int
) -> None:
    length, size = 6, 2
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, length, size, generator=generator, dtype=torch.float64)
    y = torch.randn(1, length, generator=generator, dtype=torch.float64)
    found = run_length_filter(
        features, y, noise, hazard=hazard, retain=math.sqrt(1 - q), innovation=q, hypotheses=length
    )
    for t in range(length):
        total, weights = 0.0, 0.0
        for history in itertools.product((False, True), repeat=t):
            weight, mean = given_switches(features[0, : t + 1], y[0, :t], noise, history, q)
            prior = math.prod(hazard if s else 1 - hazard for s in history)
            total, weights = total + prior * weight * mean, weights + prior * weight
        assert found[0, t].item() == pytest.approx(total / weights, abs=1e-9)


def given_switches(
    features: Tensor, y: Tensor, noise: float, history: tuple[bool, ...], q: float
) -> tuple[float, float]:
    """p(y | history) and E[f_t | y, history], by conditioning one joint Gaussian."""
    regime = np.cumsum([False, *history])
    time = np.arange(len(regime))
    alike = (regime[:, None] == regime) * math.sqrt(1 - q) ** abs(time[:, None] - time)
    joint = (features @ features.T).numpy() * alike
    seen = joint[:-1, :-1] + noise**2 * np.eye(len(y))
    if not len(y):
        return 1.0, 0.0
    solved = np.linalg.solve(seen, y.numpy())
    likelihood = math.exp(-0.5 * float(y.numpy() @ solved)) / math.sqrt(np.linalg.det(seen))
    return likelihood, float(joint[-1, :-1] @ solved)


def test_without_hazard_the_filter_is_the_posterior_of_all_that_was_seen() -> None:
    family = Harmonics()
    spec = StreamSpec(name="still", levels=[0.0], steps=30, window=1)
    drawn = draw_streams(family, spec, ADDRESS, range(3))
    batch = drawn.at("hazard", 0.0)
    found = filtered(drawn, batch, spec, 0.0)
    for t in (1, 10, 30):
        mask = torch.ones(3, t, dtype=torch.bool)
        support = Support(batch.x[:, :t], batch.y[:, :t], mask, torch.zeros(3, dtype=torch.int64))
        query = Query(batch.x[:, t : t + 1], mask[:, :1])
        posterior = family.bayes(Episodes(support, query, batch.target[:, t : t + 1]))
        assert torch.allclose(found[:, t], posterior[:, 0, 0].double(), atol=1e-4)


def test_forgetting_unlikely_beginnings_costs_next_to_nothing() -> None:
    spec = StreamSpec(name="s", levels=[0.03, 0.2], steps=200, hypotheses=300)
    drawn = draw_streams(Harmonics(), spec, ADDRESS, range(8))
    few = spec.model_copy(update={"hypotheses": 32})
    for hazard in spec.levels:
        batch = drawn.at("hazard", hazard)
        exact, pruned = (
            float((filtered(drawn, batch, s, hazard) - batch.target[..., 0]).square().mean())
            for s in (spec, few)
        )
        assert pruned == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("family", [Harmonics(), Linear(dimension=3)])
@pytest.mark.parametrize(("shift", "true"), [("hazard", 0.05), ("walk", 0.02)])
def test_no_filter_beats_the_one_with_the_true_rate(
    family: Harmonics | Linear, shift: str, true: float
) -> None:
    spec = StreamSpec.model_validate(
        {"name": "s", "shift": shift, "levels": [true], "steps": 400, "hypotheses": 16}
    )
    drawn = draw_streams(family, spec, ADDRESS, range(16))
    batch = drawn.at(spec.shift, true)
    losses = {
        rate: float((filtered(drawn, batch, spec, rate) - batch.target[..., 0]).square().mean())
        for rate in (0.0, true / 10, true, 5 * true)
    }
    assert min(losses, key=lambda rate: losses[rate]) == true


@given(hazard=st.floats(0.01, 0.9), seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_filter_of_known_regimes_is_the_mean_over_every_path(hazard: float, seed: int) -> None:
    length, many, noise = 5, 3, 0.7
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(1, length, many, generator=generator, dtype=torch.float64)
    y = torch.randn(1, length, generator=generator, dtype=torch.float64)
    found = regime_filter(values, y, noise, hazard)
    for t in range(length):
        total = weights = 0.0
        for path in itertools.product(range(many), repeat=t + 1):
            moves = itertools.pairwise(path)
            prior = math.prod(hazard / (many - 1) if a != b else 1 - hazard for a, b in moves)
            errors = sum((y[0, s] - values[0, s, path[s]]).item() ** 2 for s in range(t))
            weight = prior * math.exp(-0.5 * errors / noise**2)
            total += weight * values[0, t, path[t]].item()
            weights += weight
        assert found[0, t].item() == pytest.approx(total / weights, abs=1e-9)


def test_knowing_the_regimes_that_recur_is_worth_something() -> None:
    spec = StreamSpec(name="s", levels=[0.1], steps=300, regimes=3, hypotheses=16)
    drawn = draw_streams(Harmonics(), spec, ADDRESS, range(8))
    batch = drawn.at("hazard", 0.1)
    y, target = batch.y[..., 0], batch.target[..., 0]
    known = (filtered(drawn, batch, spec, 0.1) - target).square().mean()
    features = Harmonics().features(batch.x)
    novel = run_length_filter(features, y, 0.2, hazard=0.1, hypotheses=16)
    assert known < 0.7 * (novel - target).square().mean()


def test_a_family_without_normal_weights_has_no_filter() -> None:
    spec = StreamSpec(name="s", levels=[0.1], steps=5)
    drawn = draw_streams(Sinusoid(), spec, ADDRESS, range(1))
    with pytest.raises(MetabenchError, match="Sinusoid has no exact filter"):
        filtered(drawn, drawn.at("hazard", 0.1), spec, 0.1)
    with pytest.raises(MetabenchError, match="only normal weights"):
        drawn.at("walk", 0.1)
