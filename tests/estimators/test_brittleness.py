"""Brittleness by hand, what the oracle does not feel, and picking the worst without optimism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from metabench.estimators import ESTIMATORS, Panel, cvar, probe_table
from metabench.estimators.brittleness import brittleness, loss, risks, worst
from metabench.records import IN_DISTRIBUTION, ORACLE, Condition, Probe
from tests.estimators.tables import panel_of, rows, value_of


def perturbation(name: str, *values: float) -> Condition:
    return Condition(name=name, title="", role="brittleness", values=list(values))


OUTLIER, ORDER, RATE = (
    perturbation("outlier", 1),
    perturbation("order"),
    perturbation("rate", 0.5, 2),
)
BATTERY = [OUTLIER, ORDER, RATE]


def panel(*parts: pd.DataFrame, **protocol: object) -> Panel:
    return panel_of(*parts, conditions=BATTERY, **protocol)


HOME = [
    rows("ridge", IN_DISTRIBUTION, [[0.9], [0.9]], seed=[0, 1]),
    rows(ORACLE, IN_DISTRIBUTION, [[0.1], [0.1]], seed=[0, 1]),
    rows("maml", IN_DISTRIBUTION, [[0.2, 0.4], [0.2, 0.4]], seed=[0, 1]),
]
TOUCHED = [
    rows(ORACLE, "outlier", [[0.2], [0.3]], seed=[0, 1]),
    rows("maml", "outlier", [[0.7, 0.9], [0.4, 0.6]], seed=[0, 1]),
]


def test_brittleness_is_the_rise_of_the_risk_in_units_of_the_oracles() -> None:
    table = brittleness(panel(*HOME, *TOUCHED))
    assert value_of(table, "maml", seed=0) == pytest.approx(0.5 / 0.1)
    assert value_of(table, "maml", seed=1) == pytest.approx(0.2 / 0.2)
    assert value_of(table, ORACLE, seed=1) == pytest.approx(1)
    lost = loss(panel(*HOME, *TOUCHED))
    assert value_of(lost, "maml", seed=0) == pytest.approx(0.5 / 0.8)


@pytest.mark.parametrize("rises", [[1e-7, 2e-7], [0.3, -0.1], [0.0, 0.0]])
def test_what_the_oracle_does_not_feel_is_a_loss_and_no_brittleness(rises: list[float]) -> None:
    parts = [
        *HOME,
        rows(ORACLE, "order", [[0.1 + r] for r in rises], seed=[0, 1]),
        rows("maml", "order", [[0.5], [0.5]], seed=[0, 1]),
        rows("maml", "rate", [[0.7], [0.7]], seed=[0, 1], level=2),
    ]
    table = brittleness(panel(*parts))
    assert table.loc[table["label"] == "maml", "value"].isna().all()
    lost = loss(panel(*parts))
    assert value_of(lost, "maml", condition="order", seed=0) == pytest.approx(0.2 / 0.8)
    assert value_of(lost, "maml", condition="rate", seed=1, level=2) == pytest.approx(0.4 / 0.8)


def images(*parts: pd.DataFrame) -> Panel:
    """Accuracies, of a source without a Bayes predictor."""
    return panel(*parts, oracle="declared", ceiling=1.0, metric="accuracy", kind="classification")


CLEAN = [
    rows("ridge", IN_DISTRIBUTION, [[0.3], [0.3]], seed=[0, 1]),
    rows("maml", IN_DISTRIBUTION, [[0.1], [0.1]], seed=[0, 1]),
    rows("maml", "outlier", [[0.7], [0.4]], seed=[0, 1]),
]


def test_without_an_oracle_the_unit_is_what_the_baseline_loses() -> None:
    felt = rows("ridge", "outlier", [[0.6], [0.5]], seed=[0, 1])
    table = brittleness(images(*CLEAN, felt))
    assert value_of(table, "maml", seed=0) == pytest.approx(0.6 / 0.25)
    assert value_of(table, "maml", seed=1) == pytest.approx(0.3 / 0.25)


@pytest.mark.parametrize("risks", [[0.304, 0.306], [0.3, 0.5]])
def test_what_the_baseline_hardly_feels_is_no_unit(risks: list[float]) -> None:
    felt = rows("ridge", "outlier", [[r] for r in risks], seed=[0, 1])
    table = brittleness(images(*CLEAN, felt))
    assert table.loc[table["label"] == "maml", "value"].isna().all()


@pytest.mark.parametrize(("cost", "expected"), [(2.0, (0.0, 0.05)), (30.0, (0.9, 1.0))])
def test_only_who_loses_far_more_than_the_baseline_is_flagged(
    cost: float, expected: tuple[float, float]
) -> None:
    """Accuracies .8 and .9, 300 episodes of 15 queries, five seeds; the fault costs .02."""
    rng = np.random.default_rng(1)
    runs, flags = 40, 0
    probe = Probe(estimator="brittleness", threshold=10, flag="above")
    for _ in range(runs):
        parts = []
        for label, wrong, more in (("ridge", 0.2, 0.02), ("maml", 0.1, 0.02 * cost)):
            before = rng.binomial(15, wrong, size=(5, 300))
            after = before + rng.binomial(15 - before, more / (1 - wrong))
            for condition, count in ((IN_DISTRIBUTION, before), ("outlier", after)):
                parts.append(rows(label, condition, count / 15, seed=[*range(5)]))
        board = images(*parts)
        protocol = board.protocol.model_copy(update={"probes": [probe]})
        table = probe_table(replace(board, protocol=protocol)).set_index("label")
        flags += bool(table.loc["maml", "flagged"])
    assert expected[0] <= flags / runs <= expected[1], flags


def test_a_learner_without_an_inner_loop_has_no_rows_there() -> None:
    parts = [*HOME, rows("maml", "rate", [[0.7], [0.7]], seed=[0, 1])]
    assert set(loss(panel(*parts))["label"]) == {"maml"}
    assert ESTIMATORS.get("worst-brittleness").compute(panel(*parts)).empty


def test_the_tail_stands_beside_the_median() -> None:
    values = np.r_[np.full(18, 0.1), 5.0, 9.0]
    table = risks(panel(rows("maml", IN_DISTRIBUTION, values), rows("maml", "order", values / 2)))
    home, touched = table.sort_values("level").to_dict("records")
    assert home["median"] == pytest.approx(0.1)
    assert home["mean"] == pytest.approx((1.8 + 14) / 20)
    assert home["cvar10"] == pytest.approx(7) == cvar(values)
    assert home["worst"] == 9
    assert (touched["condition"], touched["worst"]) == ("order", 4.5)


def battery(values: NDArray[np.float64]) -> pd.DataFrame:
    """Values [entries, seeds] of one half of the episodes."""
    entries, seeds = values.shape
    return pd.DataFrame(
        {
            "label": "f",
            "condition": np.repeat([f"d{i}" for i in range(entries)], seeds),
            "level": 1,
            "seed": np.tile(np.arange(seeds), entries),
            "value": values.ravel(),
        }
    )


def test_the_worst_is_picked_on_one_half_and_scored_on_the_other() -> None:
    first = battery(np.array([[1.0, 2.0], [4.0, 5.0], [0.0, 0.0]]))
    found = worst(first, battery(np.array([[7.0, 2.0], [3.0, 6.0], [0.0, 0.0]])))
    # Seed 0: d1 has 3 on the other half, d0 has 1. Seed 1: d1 twice.
    assert found["value"].tolist() == [(3 + 1) / 2, (6 + 5) / 2]
    assert found["found"].tolist() == ["d0", "d1"]
    assert set(found["condition"]) == {"brittleness"}


def test_an_entry_without_a_value_in_both_halves_is_not_the_worst() -> None:
    first, second = np.array([[1.0], [9.0]]), np.array([[2.0], [np.nan]])
    assert worst(battery(first), battery(second))["value"].tolist() == [1.5]
    assert worst(battery(first), battery(np.full((2, 1), np.nan))).empty


def test_the_worst_of_the_battery_is_one_quantity_a_seed() -> None:
    parts = [
        rows("ridge", IN_DISTRIBUTION, [0.9, 0.9]),
        rows(ORACLE, IN_DISTRIBUTION, [0.1, 0.1]),
        rows("maml", IN_DISTRIBUTION, [0.2, 0.2]),
        rows(ORACLE, "outlier", [0.2, 0.3]),
        rows("maml", "outlier", [0.4, 0.5]),
        rows("maml", "rate", [2.0, 1.0], level=2),
    ]
    table = ESTIMATORS.get("worst-loss").compute(panel(*parts))
    own = table[table["label"] == "maml"]
    assert own["value"].item() == pytest.approx((1.8 + 0.8) / 2 / 0.8)
    assert own["found"].item() == "rate"
    felt = ESTIMATORS.get("worst-brittleness").compute(panel(*parts))
    assert value_of(felt, "maml") == pytest.approx((0.2 / 0.1 + 0.3 / 0.2) / 2)
    assert set(felt["found"]) == {"outlier"}


@given(
    arrays(np.float64, (2, 4, 3), elements=st.floats(-10, 10)),
    st.permutations(range(4)),
    st.sampled_from([0.25, 2.0, 8.0]),
)
@settings(max_examples=30, deadline=None)
def test_the_worst_is_no_worse_than_the_largest_and_has_no_order_of_halves(
    values: NDArray[np.float64], order: list[int], scale: float
) -> None:
    def found(halves: NDArray[np.float64]) -> NDArray[np.float64]:
        return worst(*map(battery, halves))["value"].to_numpy(np.float64)

    first = found(values)
    assert (first <= values.max(axis=1).mean(axis=0) + 1e-9).all()
    assert found(values[::-1]) == pytest.approx(first)
    assert found(scale * values) == pytest.approx(scale * first)
    if all(len(np.unique(half)) == half.size for half in values):
        assert found(values[:, order]) == pytest.approx(first)


def test_picking_the_largest_of_noise_would_be_too_large() -> None:
    rng = np.random.default_rng(0)
    values = 3 + rng.normal(size=(2, 8, 4000))
    naive = values.mean(axis=0).max(axis=0).mean()
    picked = worst(*map(battery, values))["value"]
    assert naive > 3.9
    assert abs(picked.mean() - 3) < 3 * picked.std() / len(picked) ** 0.5


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("others", [10.0, 5.0])
def test_a_battery_at_the_threshold_is_flagged_in_5_percent_at_most(
    seeds: int, others: float
) -> None:
    """Three perturbations with BR 10, or one of 10 and two of 5; seeds differ, episodes too."""
    rng = np.random.default_rng(seeds)
    runs, episodes = 500, 8
    n = runs * seeds
    names = [f"f{i // seeds}" for i in range(n)]
    parts = [
        rows("ridge", IN_DISTRIBUTION, np.ones((n, 2)), seed=range(n)),
        rows(ORACLE, IN_DISTRIBUTION, np.zeros((n, 2)), seed=range(n)),
        rows(names, IN_DISTRIBUTION, 0.1 * np.ones((n, 2)), seed=range(n)),
    ]
    frailty = rng.normal(size=(n, 1))
    for where, truth, level in (("outlier", 10.0, 1), ("rate", others, 1), ("rate", others, 2)):
        rise = 0.05 * rng.lognormal(sigma=0.3, size=(n, episodes))
        own = 0.1 + rise * (truth + frailty + 3 * rng.normal(size=(n, episodes)))
        parts += [
            rows(ORACLE, where, rise, seed=range(n), level=level),
            rows(names, where, own, seed=range(n), level=level),
        ]
    probe = Probe(estimator="worst-brittleness", threshold=10, flag="above")
    table = probe_table(panel(*parts, probes=[probe]))
    flags = table.loc[table["label"] != "ridge", "flagged"].astype(float)
    assert len(flags) == runs
    assert flags.mean() <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
