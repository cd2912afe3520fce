"""Over-optimisation: T and the gain's fit by hand, and T where nothing is over-optimised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from metabench.estimators import ESTIMATORS, Panel, panels
from metabench.estimators.goodhart import course, fit_gain, gain_fits, gain_points, turnover
from metabench.records import IN_DISTRIBUTION, ORACLE, Condition
from tests.factories import Learner, make_protocol, make_results

Array = NDArray[np.float64]

SEEN = Condition(name="old tasks", title="", role="seen-tasks", values=[])
APART = Condition(name="still", title="", role="no-adaptation", values=[])


def rows_of(
    label: str, seed: int, checkpoint: int, condition: str, values: list[float], metric: str = "mse"
) -> pd.DataFrame:
    """One row an episode."""
    risk = values if metric == "mse" else [np.nan] * len(values)
    return pd.DataFrame(
        {
            "label": label,
            "condition": condition,
            "level": 0 if condition == IN_DISTRIBUTION else 1,
            "seed": seed,
            "checkpoint": checkpoint,
            "episode": range(len(values)),
            "metric": metric,
            "value": values,
            "risk": risk,
        }
    )


def panel_of(*parts: pd.DataFrame) -> Panel:
    """A panel with this history; its rows are the last checkpoint of each learner."""
    protocol = make_protocol(conditions=[SEEN, APART])
    results = make_results([Learner("maml", family="gradient")], protocol=protocol)
    (panel,) = panels(results.records, results.episodes)
    history = pd.concat(parts, ignore_index=True)
    last = history.groupby("label")["checkpoint"].transform("max")
    return replace(panel, history=history, rows=history[history["checkpoint"] == last])


def training(
    gold: list[list[float]], proxy: list[float], moved: list[float], seed: int = 0
) -> list[pd.DataFrame]:
    """Checkpoints 0, 10, 20, ... of ``maml``; a list of gold risks is by episode."""
    parts = []
    for i, (risks, seen, square) in enumerate(zip(gold, proxy, moved, strict=True)):
        parts.append(rows_of("maml", seed, 10 * i, IN_DISTRIBUTION, risks))
        parts.append(rows_of("maml", seed, 10 * i, SEEN.name, [seen, seen]))
        parts.append(
            rows_of("maml", seed, 10 * i, IN_DISTRIBUTION, [square] * 2, metric="displacement")
        )
    return parts


GOLD = [[1.0, 1.0], [0.2, 0.4], [0.3, 0.2], [0.6, 0.5]]
"""Four checkpoints, an even and an odd episode."""


def test_turnover_is_what_a_hand_computes() -> None:
    panel = panel_of(*training(GOLD, [1.0, 0.5, 0.3, 0.1], [0, 1, 2, 3]))
    # Picked on even, checkpoint 1: odd loses 0.5 - 0.4 of 1 - 0.4. On odd, 2: 0.6 - 0.3 of 0.7.
    table = ESTIMATORS.get("turnover").compute(panel)
    assert table[["label", "condition", "seed"]].values.tolist() == [["maml", IN_DISTRIBUTION, 0]]
    assert table["value"].item() == pytest.approx((0.1 + 0.3) / (0.6 + 0.7))


def test_a_course_has_both_halves_proxy_and_distance() -> None:
    table = course(panel_of(*training(GOLD, [1.0, 0.5, 0.3, 0.1], [0, 1, 4, 9])))
    assert table["checkpoint"].tolist() == [0, 10, 20, 30]
    assert table["gold"].tolist() == pytest.approx([1.0, 0.3, 0.25, 0.55])
    assert table["even"].tolist() == [1.0, 0.2, 0.3, 0.6]
    assert table["odd"].tolist() == [1.0, 0.4, 0.2, 0.5]
    assert table["proxy"].tolist() == [1.0, 0.5, 0.3, 0.1]
    assert table["distance"].tolist() == [0, 1, 2, 3]


def test_a_training_that_fails_on_seen_tasks_too_deceives_nobody() -> None:
    gold = np.array([1.0, 0.2, 0.7])
    assert turnover(gold, gold, np.array([1.0, 0.5, 0.4])) == pytest.approx(0.5 / 0.8)
    # The proxy may lose up to a tenth of its own gain of 0.5.
    assert turnover(gold, gold, np.array([1.0, 0.5, 0.54])) == pytest.approx(0.5 / 0.8)
    assert turnover(gold, gold, np.array([1.0, 0.5, 0.56])) == pytest.approx(-0.5 / 0.8)


def test_without_a_gain_a_proxy_or_a_start_there_is_no_turnover() -> None:
    worse = np.array([0.2, 0.3, 0.4])
    assert np.isnan(turnover(worse, worse, -worse))
    whole = training(GOLD, [1.0, 0.5, 0.3, 0.1], [0, 1, 2, 3])
    unseen = [p for p in whole if SEEN.name not in set(p["condition"])]
    late = [p for p in whole if p["checkpoint"].iloc[0] > 0]
    for parts in (unseen, late):
        assert ESTIMATORS.get("turnover").compute(panel_of(*parts)).empty


CURVE = arrays(np.float64, 6, elements=st.integers(0, 100).map(lambda i: i / 10))


@given(CURVE, CURVE, CURVE, st.integers(1, 20), st.integers(-5, 5))
@settings(max_examples=100, deadline=None)
def test_turnover_has_no_unit_and_no_origin_and_no_order_of_halves(
    even: Array, odd: Array, proxy: Array, scale: int, offset: int
) -> None:
    found = turnover(even, odd, proxy)
    moved = turnover(scale * even + offset, scale * odd + offset, 3 * proxy)
    assert moved == pytest.approx(found, nan_ok=True)
    assert turnover(odd, even, proxy) == pytest.approx(found, nan_ok=True)


@given(CURVE)
@settings(max_examples=60, deadline=None)
def test_of_a_curve_without_noise_it_is_the_share_lost_since_the_best(gold: Array) -> None:
    gain = gold[0] - gold.min()
    falling = -np.arange(6.0)
    expected = (gold[-1] - gold.min()) / gain if gain > 0 else np.nan
    assert turnover(gold, gold, falling) == pytest.approx(expected, nan_ok=True)


def test_picking_a_peak_in_noise_makes_no_turnover_up() -> None:
    """True gold falls and stays; the naive estimate picks and scores on the same episodes."""
    rng = np.random.default_rng(0)
    true = np.array([1.0, *[0.3] * 15])
    proxy = np.linspace(1, 0, 16)
    halves = true + 0.1 * rng.normal(size=(4000, 2, 16))
    naive = [turnover(a, a, proxy) for a, _ in halves]
    split = np.array([turnover(a, b, proxy) for a, b in halves])
    assert np.mean(naive) > 0.15
    # What is left is the bias of a ratio, downwards: the variance of a mean over the gain squared.
    error = 3 * split.std() / 4000**0.5
    assert -((0.1 / 0.7) ** 2) - error < split.mean() < error
    fine = true + 0.01 * rng.normal(size=(4000, 2, 16))
    calm = np.array([turnover(a, b, proxy) for a, b in fine])
    assert abs(calm.mean()) < 3 * calm.std() / 4000**0.5 + (0.01 / 0.7) ** 2


def walk(rng: np.random.Generator) -> Array:
    return np.r_[0.0, rng.normal(size=15).cumsum()]


def fall_then_walk(rng: np.random.Generator) -> Array:
    return np.asarray(np.exp(-np.arange(16) / 1.5) + 0.05 * walk(rng))


@pytest.mark.parametrize("gold", [walk, fall_then_walk, lambda _: np.zeros(16)])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_proxy_that_has_nothing_to_do_with_the_gold_is_flagged_in_5_percent_at_most(
    gold: Callable[[np.random.Generator], Array], seeds: int
) -> None:
    """Random-walk checkpoints: the flag is the lower 95 % t-bound over seeds above 0.10."""
    rng = np.random.default_rng(seeds)
    runs, flags = 600, 0.0
    for _ in range(runs):
        values = []
        for _ in range(seeds):
            halves = gold(rng) + 0.1 * rng.normal(size=(2, 1)) + 0.05 * rng.normal(size=(2, 16))
            values.append(turnover(halves[0], halves[1], walk(rng)))
        known = np.array(values)[~np.isnan(values)]
        if len(known) > 1:
            error = known.std(ddof=1) / len(known) ** 0.5
            flags += known.mean() - stats.t.ppf(0.95, len(known) - 1) * error > 0.10
    assert flags / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


def test_a_turned_curve_is_flagged_with_five_seeds() -> None:
    rng = np.random.default_rng(0)
    true = np.array([1.0, 0.5, 0.3, 0.4, 0.6, 0.9])
    flags = 0.0
    for _ in range(40):
        halves = true + 0.05 * rng.normal(size=(5, 2, 6))
        values = [turnover(a, b, np.linspace(1, 0, 6)) for a, b in halves]
        flags += np.mean(values) - 2.132 * np.std(values, ddof=1) / 5**0.5 > 0.10
    assert flags == 40


def test_the_fit_recovers_alpha_beta_and_where_the_gain_is_largest() -> None:
    d = np.tile(np.linspace(0, 2, 9), 3)
    fit = fit_gain(d, d * (0.8 - 0.3 * d), np.repeat([0, 1, 2], 9))
    assert (fit.alpha, fit.beta) == pytest.approx((0.8, 0.3))
    assert fit.best == pytest.approx(0.8 / 0.6)
    assert fit_gain(d, d * (0.8 - 0.1 * d), np.repeat([0, 1, 2], 9)).best is None
    assert fit_gain(d, d * (0.8 + 0.1 * d), np.repeat([0, 1, 2], 9)).best is None


def test_the_clustered_error_of_beta_is_what_a_hand_computes() -> None:
    # d = 1 and 2 in each of two seeds; the residuals are +-r in both of a seed's points.
    d, seed = np.array([1.0, 2.0, 1.0, 2.0]), np.array([0, 0, 1, 1])
    fit = fit_gain(d, d * (1 - 0.2 * d) + 0.1 * np.array([1, 1, -1, -1]), seed)
    x = np.stack([d, -(d**2)], axis=1)
    bread = np.linalg.inv(x.T @ x)
    score = 0.1 * np.array([3.0, -5.0])
    variance = (bread @ (2 * np.outer(score, score)) @ bread)[1, 1] * 2
    assert fit.beta == pytest.approx(0.2)
    assert fit.t == pytest.approx(0.2 / variance**0.5)
    assert fit.t is not None
    assert fit.p == pytest.approx(stats.t.sf(fit.t, 1))


def test_one_seed_has_no_t_statistic() -> None:
    d = np.array([0.0, 1.0, 2.0])
    assert fit_gain(d, d, np.zeros(3, dtype=int)).t is None
    with pytest.raises(ValueError, match="two distances"):
        fit_gain(np.array([0.0, 1.0]), np.zeros(2), np.zeros(2, dtype=int))


def test_the_t_statistic_of_beta_keeps_its_level_with_seeds_of_their_own() -> None:
    """No curvature, a slope of its own for each of ten seeds: p below 0.05 in 5 %."""
    rng = np.random.default_rng(1)
    d, seed = np.tile(np.linspace(0, 1, 12), 10), np.repeat(np.arange(10), 12)
    runs, rejected = 1500, 0
    for _ in range(runs):
        slope = 1 + 0.2 * rng.normal(size=10)
        bend = 0.2 * rng.normal(size=10)
        gain = slope[seed] * d - bend[seed] * d**2 + 0.05 * rng.normal(size=120)
        p = fit_gain(d, gain, seed).p
        assert p is not None
        rejected += p < 0.05
    assert rejected / runs == pytest.approx(0.05, abs=0.02)


def test_distances_are_in_deviations_of_the_target_where_the_suite_has_it() -> None:
    parts = training(GOLD, [1.0, 0.5, 0.3, 0.1], [0, 1, 4, 9])
    assert gain_points(panel_of(*parts))["distance"].tolist() == [0, 1, 2, 3]
    marginal = rows_of(ORACLE, 0, 0, APART.name, [4.0, 4.0])
    points = gain_points(panel_of(*parts, marginal))
    assert points["distance"].tolist() == [0, 0.5, 1, 1.5]
    assert points["gain"].tolist() == pytest.approx([0, 0.7, 0.75, 0.45])


def test_t_does_not_depend_on_the_unit_of_distance() -> None:
    parts = [
        part
        for seed, late in ((0, 0.5), (1, 0.7), (2, 0.4))
        for part in training([*GOLD[:3], [late, late]], [1, 0.5, 0.3, 0.1], [0, 1, 4, 9], seed)
    ]
    near = gain_fits(panel_of(*parts))["maml"]
    far = gain_fits(panel_of(*parts, rows_of(ORACLE, 0, 0, APART.name, [4.0, 4.0])))["maml"]
    assert far.t == pytest.approx(near.t)
    assert far.beta == pytest.approx(4 * near.beta)
    table = ESTIMATORS.get("gain-curvature").compute(panel_of(*parts))
    assert table["seed"].tolist() == [0, 1, 2]
    assert (table["value"] > 0).all()
