"""What a surrogate reads off a design: variance shares and main effects of known surfaces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from metabench.estimators.sensitivity import termination_ratio
from metabench.estimators.surrogate import effects, fit, sobol_indices

pytest.importorskip("sklearn")


def test_sobol_indices_are_the_variance_shares_of_an_additive_surface() -> None:
    """y = 2 a + b + noise, c idle: shares 4/5, 1/5, 0, and no interaction."""
    rng = np.random.default_rng(0)
    design = qmc.Sobol(3, seed=0).random(64)
    scores = 2 * design[:, 0] + design[:, 1] + 0.05 * rng.normal(size=64)
    fitted = fit(design, scores)
    table = sobol_indices(fitted, ["a", "b", "c"], draws=15).set_index("knob")
    assert table["total"].tolist() == pytest.approx([0.8, 0.2, 0.0], abs=0.04)
    assert table["first"].tolist() == pytest.approx([0.8, 0.2, 0.0], abs=0.04)
    assert (table["low"] <= table["total"] + 0.02).all()
    assert fitted.explained > 0.9


def test_a_total_index_counts_interactions() -> None:
    """y = (a - 1/2)(b - 1/2): first order 0, total 1 for both."""
    design = qmc.Sobol(2, seed=0).random(64)
    scores = (design[:, 0] - 0.5) * (design[:, 1] - 0.5)
    table = sobol_indices(fit(design, scores), ["a", "b"], draws=2)
    assert table["first"].tolist() == pytest.approx([0, 0], abs=0.05)
    assert table["total"].tolist() == pytest.approx([1, 1], abs=0.05)


def test_one_knob_explains_everything_and_none_where_nothing_varies() -> None:
    design = qmc.Sobol(1, seed=0).random(16)
    assert sobol_indices(fit(design, design[:, 0]), ["a"], draws=2)["total"].tolist() == [1.0]
    same = fit(design, np.ones(16))
    assert np.isnan(same.explained)
    assert sobol_indices(same, ["a"], draws=2)["total"].tolist() == [0.0]


def test_effects_of_levels_have_the_spread_of_their_knobs() -> None:
    """y = 4 a + b + c with a of level 0, c of level 1: interquartile ranges 2 and 1/2."""
    design = qmc.Sobol(3, seed=0).random(64)
    scores = 4 * design[:, 0] + design[:, 1] + design[:, 2]
    found = effects(fit(design, scores), {0: [0], 1: [2]})
    assert termination_ratio(found[0], found[1]) == pytest.approx(0.25, abs=0.02)


def test_a_resampled_surrogate_keeps_the_lengths() -> None:
    design = qmc.Sobol(2, seed=0).random(32)
    whole = fit(design, np.sin(3 * design[:, 0]))
    for one in whole.resampled(3, seed=0):
        assert one.model.kernel_.theta == pytest.approx(whole.model.kernel_.theta)
        assert np.ptp(one.surface(design)) > 0.5
