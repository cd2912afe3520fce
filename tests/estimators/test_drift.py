"""Drift by hand: the advantage, where it meets zero, and the time to regain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.estimators import ESTIMATORS, Panel, panels
from metabench.estimators.drift import boundaries, boundary, constants, drift_table
from metabench.records import ORACLE, Condition
from tests.factories import Learner, make_protocol, make_results

RATES = [0.001, 0.01, 0.1]
SWITCHES = Condition(name="switches", title="", role="hazard", values=RATES)
STEPS = Condition(name="steps", title="", role="walk", values=RATES)
Losses = Mapping[str, list[float]]
"""Metric -> one number a level."""
KNOWN = {"mse": [0.1, 0.2, 0.6], "static": [1.1, 1.2, 1.0]}


def rows_of(label: str, losses: Losses, seed: int = 0, condition: str = "switches") -> pd.DataFrame:
    """Two streams a level, either side of the losses."""
    rows = [
        (label, condition, level, seed, 9, stream, metric, value + 0.05 * (2 * stream - 1))
        for metric, values in losses.items()
        for level, value in enumerate(values, start=1)
        for stream in (0, 1)
    ]
    names = ["label", "condition", "level", "seed", "checkpoint", "episode", "metric", "value"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(risk=table["value"].where(table["metric"] == "mse"))


def panel_of(*parts: pd.DataFrame, conditions: tuple[Condition, ...] = (SWITCHES,)) -> Panel:
    protocol = make_protocol(conditions=list(conditions))
    results = make_results([Learner("maml", family="gradient")], protocol=protocol)
    (panel,) = panels(results.records, results.episodes)
    return replace(panel, rows=pd.concat(parts, ignore_index=True))


def values(name: str, panel: Panel, label: str = "maml") -> list[float]:
    table = ESTIMATORS.get(name).compute(panel)
    return [float(v) for v in table.loc[table["label"] == label, "value"]]


def test_the_advantage_of_the_filter_is_1_of_the_prior_0_and_of_a_learner_between() -> None:
    panel = panel_of(
        rows_of(ORACLE, KNOWN),
        rows_of("prior", {"mse": KNOWN["static"]}),
        rows_of("maml", {"mse": [0.35, 0.7, 1.2]}),
    )
    assert values("drift-advantage", panel, ORACLE) == pytest.approx([1, 1, 1])
    assert values("drift-advantage", panel, "prior") == pytest.approx([0, 0, 0], abs=1e-12)
    assert values("drift-advantage", panel) == pytest.approx([0.75, 0.5, -0.5])


def test_the_boundary_is_interpolated_in_log_rate_and_times_tau_it_is_the_constant() -> None:
    losses = {"mse": [0.35, 0.7, 1.2], "interval": [50.0] * 3}
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", losses))
    expected = 10 ** (-2 + 0.5)
    assert values("drift-limit", panel) == pytest.approx([expected])
    assert values("drift-constant", panel) == pytest.approx([50 * expected])
    found, tau = constants(panel)["maml", "switches"]
    assert tau == 50
    assert not found.interval
    assert found.text(tau) == "1.6"


def test_slow_drift_is_less_than_half_a_switch_between_adaptations() -> None:
    losses = {"mse": [0.35, 1.3, 1.2], "interval": [40.0] * 3}
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", losses))
    table = ESTIMATORS.get("drift-early").compute(panel)
    assert table["level"].tolist() == [1, 2]
    assert table["value"].tolist() == pytest.approx([0.75, -0.1])


def test_a_walk_has_an_advantage_and_a_boundary_but_no_constant() -> None:
    losses = {"mse": [0.35, 0.7, 1.2], "interval": [50.0] * 3}
    parts = (rows_of(ORACLE, KNOWN, condition="steps"), rows_of("maml", losses, condition="steps"))
    panel = panel_of(*parts, conditions=(STEPS,))
    assert len(values("drift-advantage", panel)) == 3
    assert len(values("drift-limit", panel)) == 1
    for name in ("drift-constant", "drift-early", "drift-regain"):
        assert ESTIMATORS.get(name).compute(panel).empty


def test_a_level_with_nothing_to_gain_is_not_identifiable() -> None:
    close = {"mse": [0.1, 0.2, 0.98], "static": [1.1, 1.2, 1.0]}
    panel = panel_of(rows_of(ORACLE, close), rows_of("maml", {"mse": [0.35, 0.7, 1.2]}))
    found = values("drift-advantage", panel)
    assert found[:2] == pytest.approx([0.75, 0.5])
    assert np.isnan(found[2])
    assert boundaries(panel)["maml", "switches"].text() == "> 0.01"


def test_a_boundary_beyond_the_rates_in_one_seed_is_a_value_of_none() -> None:
    parts = [
        part
        for seed, last in ((0, 1.2), (1, 0.9))
        for part in (
            rows_of(ORACLE, KNOWN, seed),
            rows_of("maml", {"mse": [0.35, 0.7, last]}, seed),
        )
    ]
    panel = panel_of(*parts)
    assert np.isnan(values("drift-limit", panel)).all()
    found = boundaries(panel)["maml", "switches"]
    assert found.rate == pytest.approx(10 ** (-2 + 0.5 / 0.625))
    assert found.high is None
    assert found.text().endswith(", > 0.1]")


def test_a_learner_below_the_prior_from_the_first_rate_is_bounded_by_it() -> None:
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", {"mse": [1.3, 1.4, 1.5]}))
    assert boundaries(panel)["maml", "switches"].text() == "< 0.001"


def after(losses: Mapping[int, float], before: float) -> Losses:
    return {"before": [before], **{f"after-{age}": [loss] for age, loss in losses.items()}}


def test_the_time_to_regain_is_where_nine_tenths_of_the_gain_are_back() -> None:
    # The gain is 1.1 - 0.1; nine tenths of it leave a loss of 0.2, between ages 4 and 8.
    course = after({0: 2.0, 1: 1.5, 2: 0.9, 4: 0.4, 8: 0.1, 16: 0.1}, before=0.1)
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", course))
    assert values("drift-regain", panel) == pytest.approx([4 + 4 * 0.2 / 0.3])
    noisy = after({0: 2.0, 1: 1.5, 2: 0.1, 4: 0.5, 8: 0.1, 16: 0.1}, before=0.1)
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", noisy))
    assert values("drift-regain", panel) == pytest.approx([4 + 4 * 0.1 / 0.2])


@pytest.mark.parametrize(
    "course",
    [after({0: 2.0, 1: 1.5, 2: 0.9}, before=0.1), after({0: 1.1, 1: 1.1, 2: 1.1}, before=1.1)],
    ids=["not yet", "nothing to regain"],
)
def test_what_is_not_regained_has_no_time(course: Losses) -> None:
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", course))
    assert np.isnan(values("drift-regain", panel)).all()


def test_the_slope_of_regret_is_per_decade() -> None:
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", {"mse": [0.2, 0.4, 0.9]}))
    assert values("drift-regret-slope", panel) == pytest.approx([0.1])
    assert values("drift-regret-slope", panel, ORACLE) == pytest.approx([0.0])


@pytest.mark.parametrize(
    ("losses", "order"),
    [([0.35, 0.7, 1.2], -1.0), ([0.7, 0.35, 1.2], -1 / 3), ([1.0, 0.9, 0.6], 1)],
)
def test_the_order_of_advantage_and_rate_is_kendalls(losses: list[float], order: float) -> None:
    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", {"mse": losses}))
    assert values("drift-monotonicity", panel) == pytest.approx([order])


LOSS = st.floats(0.0, 3.0)


@given(st.lists(LOSS, min_size=3, max_size=3), st.floats(0.5, 10), st.floats(-2, 2))
@settings(max_examples=25, deadline=None)
def test_the_advantage_has_no_unit_and_no_origin(
    losses: list[float], scale: float, offset: float
) -> None:
    def moved(known: Losses) -> Losses:
        return {k: [scale * v + offset for v in vs] for k, vs in known.items()}

    panel = panel_of(rows_of(ORACLE, KNOWN), rows_of("maml", {"mse": losses}))
    other = panel_of(rows_of(ORACLE, moved(KNOWN)), rows_of("maml", moved({"mse": losses})))
    assert drift_table(other)["A"].tolist() == pytest.approx(drift_table(panel)["A"].tolist())


@given(st.floats(0.1, 10), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_boundary_moves_with_the_unit_of_the_rate(unit: float, advantages: list[float]) -> None:
    rates = np.array([0.001, 0.003, 0.02, 0.1])
    one, other = (
        boundary(pd.DataFrame({0: advantages}, index=rates * factor)) for factor in (1.0, unit)
    )
    assert one is not None
    assert other is not None
    if one.rate is None:
        assert other.rate is None
    else:
        assert other.rate == pytest.approx(one.rate * unit)
        assert rates[0] * 0.999 <= one.rate <= rates[-1] * 1.001


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_of_the_boundary_covers_it(seeds: int) -> None:
    """A falls in log h, with noise of the seed that all rates share and noise of its own."""
    rng = np.random.default_rng(seeds)
    rates = np.geomspace(0.001, 1, 8)
    true = 0.02
    runs, covered, missed = 1000, 0, 0
    for _ in range(runs):
        noise = 0.2 * rng.normal(size=(1, seeds)) + 0.1 * rng.normal(size=(8, seeds))
        curve = pd.DataFrame(0.4 * np.log(true / rates)[:, None] + noise, index=rates)
        found = boundary(curve)
        assert found is not None
        assert found.low is not None
        covered += found.low <= true and (found.high is None or found.high >= true)
        missed += found.rate is None
    assert missed == 0
    assert covered / runs == pytest.approx(0.95, abs=0.025)


def test_one_rate_has_no_boundary() -> None:
    assert boundary(pd.DataFrame({0: [0.5]}, index=[0.01])) is None
