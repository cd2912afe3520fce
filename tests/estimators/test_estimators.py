"""Estimators against known answers and simulations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metabench.estimators import (
    Panel,
    area_under_skill,
    break_even,
    cvar,
    ood_gap,
    panels,
    severity_curve,
    skill_table,
)
from metabench.records import IN_DISTRIBUTION, ORACLE
from metabench.store import Results
from tests.estimators.tables import panel_of, rows
from tests.factories import (
    BASE,
    BAYES,
    Learner,
    constant,
    falling,
    make_protocol,
    make_results,
    merge,
)

MAML = Learner("maml", falling(0.8, 0.3), "gradient")


def only(results: Results) -> Panel:
    (panel,) = panels(results.records, results.episodes)
    return panel


def skill_of(results: Results, label: str) -> pd.DataFrame:
    table = skill_table(only(results))
    return table[table["label"] == label].set_index(["condition", "level", "seed"]).sort_index()


def test_skill_is_zero_for_the_base_one_for_the_oracle_and_linear_between() -> None:
    results = make_results([BASE, BAYES, MAML], seed_sd=0.0)
    assert skill_of(results, "ridge")["skill"].to_numpy() == pytest.approx(0.0)
    assert skill_of(results, ORACLE)["skill"].to_numpy() == pytest.approx(1.0)
    maml = skill_of(results, "maml")["skill"]
    assert maml[IN_DISTRIBUTION, 0].to_numpy() == pytest.approx(0.8)
    assert maml["ramp", 4].to_numpy() == pytest.approx(0.8 - 1.2)


def test_skill_over_seeds_is_the_ratio_of_means_and_no_seed_with_little_room_rules_it() -> None:
    # Room 1.0, 0.5 and 0.06; the learner's risk is 0.3 above the oracle's in every seed.
    base, best, risk = np.array([1.0, 0.5, 0.06]), np.zeros(3), np.full(3, 0.3)
    parts = [
        rows(label, IN_DISTRIBUTION, values[:, None], seed=range(3))
        for label, values in (("ridge", base), (ORACLE, best), ("maml", risk))
    ]
    table = skill_table(panel_of(*parts, conditions=[], floor=0.05))
    skill = {label: own["skill"].to_numpy() for label, own in table.groupby("label")}
    assert skill["ridge"] == pytest.approx(np.zeros(3))
    assert skill[ORACLE] == pytest.approx(np.ones(3))
    # Ratios of the seeds are 0.7, 0.4 and -4: their mean would be -0.97.
    assert skill["maml"].mean() == pytest.approx((0.7 + 0.2 - 0.24) / 1.56)
    ratio = 0.66 / 1.56
    assert skill["maml"] == pytest.approx(ratio + (base - risk - ratio * base) / 0.52)


def test_accuracy_is_scored_against_the_declared_ceiling() -> None:
    protocol = make_protocol(
        kind="classification", metric="accuracy", oracle="declared", ceiling=0.9
    )
    # Risks run from 0.5 (base) to 0.1 (the ceiling of 0.9).
    results = make_results([BASE, MAML], base=0.5, best=0.1, seed_sd=0.0, protocol=protocol)
    maml = skill_of(results, "maml")
    assert maml["oracle_risk"].to_numpy() == pytest.approx(0.1)
    assert maml["skill"][IN_DISTRIBUTION, 0].to_numpy() == pytest.approx(0.8)


def test_the_base_is_the_best_baseline_of_each_condition() -> None:
    other = Learner("nn", lambda condition, level: 0.3 if condition == "flip" else -0.3, "baseline")
    protocol = make_protocol(baselines=["ridge", "nn"])
    results = make_results([BASE, other, BAYES, MAML], seed_sd=0.0, protocol=protocol)
    table = skill_of(results, "maml")
    assert set(table.loc["flip", "base"]) == {"nn"}
    assert set(table.loc["ramp", "base"]) == {"ridge"}


def test_a_cell_without_room_between_base_and_oracle_is_not_scored() -> None:
    table = skill_of(make_results(base=0.54, best=0.5, episode_sd=0.0), "maml")
    assert set(table["status"]) == {"unidentifiable"}
    assert table["skill"].isna().all()


def test_without_a_baseline_or_an_oracle_there_is_no_skill() -> None:
    assert set(skill_of(make_results([BAYES, MAML]), "maml")["status"]) == {"no baseline"}
    assert set(skill_of(make_results([BASE, MAML]), "maml")["status"]) == {"no oracle"}


def test_a_failed_cell_is_missing_and_not_zero() -> None:
    failing = Learner("maml", falling(0.8, 0.3), "gradient", status="failed", failed_seeds=[1])
    table = skill_of(make_results([BASE, BAYES, failing]), "maml")
    assert set(table.index.get_level_values("seed")) == {0, 2}


def test_different_fingerprints_presets_and_data_never_share_a_panel() -> None:
    parts = [
        make_results(),
        make_results(fingerprint="f" * 16),
        make_results(preset="smoke"),
        make_results(data={"glyphs": "x"}),
    ]
    whole = merge(*parts)
    assert len(panels(whole.records, whole.episodes)) == 4


def test_the_gap_is_paired_by_episode() -> None:
    gap = ood_gap(only(make_results([BASE, BAYES, MAML], seed_sd=0.3)))
    at = gap[(gap["label"] == "maml") & (gap["condition"] == "ramp") & (gap["level"] == 2)]
    # The learner's own offset and the episodes' shared noise cancel in the difference.
    assert at["value" if "value" in at else "gap"].to_numpy() == pytest.approx(0.6, abs=0.12)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_cvar_lies_between_mean_and_maximum(risks: list[float]) -> None:
    values = np.array(risks)
    tail = cvar(values)
    assert values.mean() - 1e-9 <= tail <= values.max() + 1e-9
    assert cvar(values, 1.0) == pytest.approx(values.mean())


def test_cvar_is_the_mean_of_the_worst_tenth_with_a_fractional_boundary() -> None:
    assert cvar(np.arange(20.0)) == pytest.approx((19 + 18) / 2)
    # 15 values: the worst 1.5, so (14 + 0.5 * 13) / 1.5.
    assert cvar(np.arange(15.0)) == pytest.approx((14 + 0.5 * 13) / 1.5)
    rng = np.random.default_rng(0)
    exact = stats.norm.pdf(stats.norm.ppf(0.9)) / 0.1
    assert cvar(rng.normal(size=200_000)) == pytest.approx(exact, rel=0.02)


def curve(rows: list[list[float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="level"))


def test_the_area_is_clipped_and_relative_to_skill_at_home() -> None:
    area = area_under_skill(curve([[0.8], [0.4], [-5.0]]))
    assert area.values == {0: pytest.approx((0.8 + 0.4 - 1) / 3 / 0.8)}
    assert area_under_skill(curve([[0.5], [0.5]])).values == {0: pytest.approx(1.0)}


def test_the_area_is_undefined_without_skill_at_home() -> None:
    area = area_under_skill(curve([[0.8, 0.01], [0.4, 0.4]]))
    assert area.values is None
    assert "at most 0.05" in str(area.reason)


@pytest.mark.parametrize(
    ("values", "level"),
    [([0.5, -0.5], 0.5), ([0.9, 0.3, -0.1], 1.75), ([-0.1, 0.5], 0.0), ([0.5, 0.2], None)],
)
def test_break_even_is_the_first_interpolated_zero(
    values: list[float], level: float | None
) -> None:
    found = break_even(curve([[v] for v in values]))
    assert found is not None
    assert found.level == (None if level is None else pytest.approx(level))
    assert not found.interval


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_break_even_interval_covers_the_true_level(seeds: int) -> None:
    """True curve 0.8 - 0.33 s crosses at 2.42; each seed has its own offset and slope."""
    rng = np.random.default_rng(seeds)
    runs, covered = 1500, 0
    levels = np.arange(6)
    for _ in range(runs):
        start = 0.8 + 0.1 * rng.normal(size=seeds)
        slope = 0.33 + 0.03 * rng.normal(size=seeds)
        noise = 0.05 * rng.normal(size=(6, seeds))
        found = break_even(curve((start - np.outer(levels, slope) + noise).tolist()))
        assert found is not None
        low = 6.0 if found.low is None else found.low
        high = 6.0 if found.high is None else found.high
        covered += low <= 0.8 / 0.33 <= high
    assert covered / runs > 0.93


def test_a_censored_break_even_says_beyond_the_last_level() -> None:
    found = break_even(curve([[0.9, 0.8], [0.8, 0.7], [0.7, 0.6]]))
    assert found is not None
    assert found.text() == "> 2"


def test_a_curve_starts_in_distribution() -> None:
    skills = skill_table(only(make_results([BASE, BAYES, MAML], seed_sd=0.0)))
    found = severity_curve(skills, "maml", "ramp")
    assert found.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.mean(axis=1).tolist() == pytest.approx([0.8, 0.5, 0.2, -0.1, -0.4, -0.7])


def test_variants_of_one_learner_are_told_apart_by_what_differs() -> None:
    one = Learner("maml", constant(0.5), "gradient", parameters={"steps": 1, "lr": 0.1})
    five = Learner("maml", constant(0.6), "gradient", parameters={"steps": 5, "lr": 0.1})
    labels = set(skill_table(only(make_results([BASE, BAYES, one, five])))["label"])
    assert labels == {"ridge", ORACLE, "maml[steps=1]", "maml[steps=5]"}
