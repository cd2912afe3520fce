"""Function families: their laws and their Bayes predictors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.harmonics import HARMONICS, Harmonics
from metabench.tasks.sinusoid import Sinusoid

SHAPE = Shape(shot=10, query=10)
ADDRESS = Address.of("tests", "functions")


def test_sinusoids_have_the_variance_of_the_papers_distribution() -> None:
    """E[y^2] = E[A^2] / 2 = 4.25 where the phase is uniform on [0, pi]."""
    y = sample(Sinusoid(), SHAPE, ADDRESS, range(4000)).query_y
    assert float(y.square().mean()) == pytest.approx(4.25, rel=0.05)


def test_the_best_predictor_that_ignores_the_support_has_the_known_risk() -> None:
    """-(2/pi) E[A] cos x has risk 3.005: anything at or above it learned nothing from support."""
    e = sample(Sinusoid(), SHAPE, ADDRESS, range(20_000))
    best = (2 / math.pi) * 2.55 * torch.cos(e.query.x)
    assert float((e.query_y - best).square().mean()) == pytest.approx(3.005, rel=0.02)


def test_support_and_query_come_from_the_same_function() -> None:
    e = sample(Sinusoid(), SHAPE, ADDRESS, range(50))
    assert torch.allclose(Sinusoid().oracle(e), e.query_y, atol=1e-3)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_sinusoid_oracle_is_the_posterior_mean_on_a_fine_grid(noise: float) -> None:
    task = Sinusoid(noise=noise)
    e = sample(task, Shape(shot=5, query=4), ADDRESS, range(20))
    amplitude = torch.linspace(0.1, 5, 800, dtype=torch.float64)[:, None]
    phase = torch.linspace(0, math.pi, 800, dtype=torch.float64)[None]
    for i in range(20):
        x, y = e.support.x[i, :, 0].double(), e.support.y[i, :, 0].double()
        fit = amplitude[..., None] * torch.sin(x + phase[..., None])
        weight = torch.exp(-0.5 * ((fit - y) / noise).square().sum(-1))
        weight = weight / weight.sum()
        at = amplitude[..., None] * torch.sin(e.query.x[i, :, 0].double() + phase[..., None])
        mean = (weight[..., None] * at).sum((0, 1))
        assert torch.allclose(task.oracle(e)[i, :, 0].double(), mean, atol=0.03 * (1 + noise))


def test_harmonics_have_unit_variance_at_every_spectrum() -> None:
    for centre in (0.0, 2.0, 5.0):
        task = Harmonics(centre=centre)
        assert task.variances().sum() == pytest.approx(1.0)
        y = sample(task, SHAPE, ADDRESS, range(4000)).query_y
        assert float(y.square().mean()) == pytest.approx(1.0, rel=0.06)


def test_the_harmonic_oracle_equals_the_primal_posterior_mean() -> None:
    """(F'F / s^2 + L^-1)^-1 F'y / s^2, the weight-space form of the same predictor."""
    task = Harmonics(noise=0.3)
    e = sample(task, SHAPE, ADDRESS, range(30))
    k = np.arange(1, HARMONICS + 1)

    def features(x: np.ndarray) -> np.ndarray:
        angle = x[:, None] * k
        return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(len(x), -1)

    prior = np.diag(1 / np.repeat(task.variances(), 2))
    for i in range(30):
        f = features(e.support.x[i, :, 0].double().numpy())
        y = e.support.y[i, :, 0].double().numpy()
        weights = np.linalg.solve(f.T @ f / 0.09 + prior, f.T @ y / 0.09)
        expected = features(e.query.x[i, :, 0].double().numpy()) @ weights
        np.testing.assert_allclose(task.oracle(e)[i, :, 0].numpy(), expected, atol=1e-3)


def test_no_predictor_beats_the_bayes_predictor_of_another_prior() -> None:
    """The oracle of each spectrum has the least risk on it; wrong priors pay."""
    oracles = [Harmonics(centre=c) for c in range(6)]
    risk = np.zeros((6, 6))
    for i, truth in enumerate(oracles):
        e = sample(truth, SHAPE, ADDRESS, range(1500))
        for j, prior in enumerate(oracles):
            risk[i, j] = float((prior.oracle(e) - e.query_y).square().mean())
    assert (risk.argmin(axis=1) == np.arange(6)).all()
    assert risk[0, 0] == pytest.approx(0.038, abs=0.006)
    assert risk[4, 0] > 1.5


@pytest.mark.parametrize("task", [Sinusoid(), Harmonics()])
def test_levels_share_everything_but_the_axis(task: Sinusoid | Harmonics) -> None:
    clean = sample(task, SHAPE, ADDRESS, range(100))
    noisy = sample(task.shifted("noise", 0.5), SHAPE, ADDRESS, range(100))
    assert torch.equal(clean.support.x, noisy.support.x)
    assert torch.equal(clean.query_y, noisy.query_y)
    fewer = sample(task, Shape(shot=4, query=10), ADDRESS, range(100))
    assert torch.equal(fewer.support.x, clean.support.x[:, :4])
    assert torch.equal(fewer.query_y, clean.query_y)


def test_shifts_leave_the_range_of_training() -> None:
    s = Sinusoid()
    assert s.shifted("amplitude", 7).amplitude == (5.0, 7)  # type: ignore[attr-defined]
    assert s.shifted("inputs", 8).inputs == (5.0, 8)  # type: ignore[attr-defined]
    assert s.shifted("frequency", 2).frequency == 2  # type: ignore[attr-defined]
    x = sample(s.shifted("inputs", 8), SHAPE, ADDRESS, range(50)).query.x
    assert float(x.min()) >= 5
    assert float(x.max()) <= 8


@given(st.tuples(st.integers(1, 5), st.integers(5, 9)), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_variable_shot_is_padding_plus_mask(shot: tuple[int, int], query: int) -> None:
    e = sample(Sinusoid(), Shape(shot=shot, query=query), ADDRESS, range(64))
    counts = e.support.mask.sum(1)
    assert e.support.x.shape[1] == shot[1]
    assert int(counts.min()) >= shot[0]
    assert int(counts.max()) <= shot[1]
    assert not e.support.x[~e.support.mask].any()
    assert not e.support.y[~e.support.mask].any()


def test_a_wrong_axis_names_the_right_ones() -> None:
    with pytest.raises(MetabenchError, match="Did you mean 'amplitude'"):
        Sinusoid().shifted("amplitudes", 1)


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(ValidationError):
        Sinusoid.model_validate({"amplitud": [0, 1]})
