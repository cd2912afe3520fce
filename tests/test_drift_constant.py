"""The drift constant: its closed form, and that the streams have it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "reproduce"))

import drift_constant
from drift_constant import MEAN, T2, derived_boundary, measured_boundary

from metabench.rng import Address


@pytest.mark.parametrize("window", [1, 5, 50])
@pytest.mark.parametrize("noise", [0.01, 1.0, 25.0])
def test_whatever_the_window_and_the_noise_the_constant_goes_to_the_same(
    window: int, noise: float
) -> None:
    constant = 100_000 * derived_boundary(100_000, window, noise)
    assert constant == pytest.approx(1.5936, abs=5e-3)
    assert (1 - np.exp(-constant)) / constant == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("tau", "published"), [(10, 0.117), (20, 0.069), (50, 0.028)])
def test_the_published_limits_are_near_the_closed_form(tau: int, published: float) -> None:
    assert derived_boundary(tau, 5, 1.0) == pytest.approx(published, rel=0.1)


def test_streams_break_even_where_the_closed_form_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_constant, "STEPS", 2000)
    address = Address.of("tests", "drift constant")
    found = [measured_boundary(MEAN, 10, address.child(i)) for i in range(3)]
    assert np.mean(found) == pytest.approx(derived_boundary(10, 5, 1.0), rel=0.07)
    assert 0.5 < 20 * measured_boundary(T2, 20, address) < 3
