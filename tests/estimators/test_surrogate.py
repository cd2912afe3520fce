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
    table = sobol_indices(fitted, ["a", "b", "c"], list(fitted.resampled(10, 0))).set_index("knob")
    assert table["total"].tolist() == pytest.approx([0.8, 0.2, 0.0], abs=0.04)
    assert table["first"].tolist() == pytest.approx([0.8, 0.2, 0.0], abs=0.04)
    assert (table["low"] <= table["total"] + 0.02).all()
    assert fitted.explained > 0.9


def test_a_total_index_counts_interactions() -> None:
    """y = (a - 1/2)(b - 1/2): first order 0, total 1 for both."""
    design = qmc.Sobol(2, seed=0).random(64)
    fitted = fit(design, (design[:, 0] - 0.5) * (design[:, 1] - 0.5))
    table = sobol_indices(fitted, ["a", "b"], [fitted])
    assert table["first"].tolist() == pytest.approx([0, 0], abs=0.05)
    assert table["total"].tolist() == pytest.approx([1, 1], abs=0.05)


def test_one_knob_explains_everything_and_none_where_nothing_varies() -> None:
    design = qmc.Sobol(1, seed=0).random(16)
    fitted = fit(design, design[:, 0])
    assert sobol_indices(fitted, ["a"], [fitted])["total"].tolist() == [1.0]
    same = fit(design, np.ones(16))
    assert np.isnan(same.explained)
    assert sobol_indices(same, ["a"], [])["total"].tolist() == [0.0]


def test_effects_of_levels_have_the_spread_of_their_knobs() -> None:
    """y = 4 a + b + c with a of level 0, c of level 1: interquartile ranges 2 and 1/2."""
    design = qmc.Sobol(3, seed=0).random(64)
    scores = 4 * design[:, 0] + design[:, 1] + design[:, 2]
    found = effects(fit(design, scores), {0: [0], 1: [2]})
    assert termination_ratio(found[0], found[1]) == pytest.approx(0.25, abs=0.02)


def test_the_bootstrap_over_points_covers_a_termination_ratio_of_a_noisy_surface() -> None:
    """y = u + v / 2 + noise on 48 points: rho is 1/2."""
    covered = 0
    for run in range(6):
        rng = np.random.default_rng(run)
        design = qmc.Sobol(3, seed=run).random(64)[:48]
        scores = design[:, 0] + design[:, 1] / 2 + 0.2 * rng.normal(size=48)
        drawn = []
        for one in fit(design, scores).resampled(8, seed=run):
            found = effects(one, {0: [0], 1: [1]})
            drawn.append(termination_ratio(found[0], found[1]))
        low, high = min(drawn), max(drawn)
        covered += low <= 0.5 <= high
    assert covered >= 5
