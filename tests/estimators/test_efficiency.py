"""Shots, and what they are worth: known curves, censoring, costs and intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabench.estimators import ESTIMATORS, Panel, probe_table
from metabench.estimators.efficiency import (
    Curve,
    break_even_seconds,
    break_even_tasks,
    data_equivalence,
    sample_complexity,
    surplus_description_length,
)
from metabench.records import IN_DISTRIBUTION, ORACLE, Probe, Record, Usage
from metabench.statistics import t_interval
from tests.estimators.tables import panel_of, record_of, role, rows, value_of

Array = NDArray[np.float64]

GRID = np.array([1.0, 2, 4, 8, 16, 32, 64])
SHOTS = role("shot", *GRID)


def curve(*risks: float) -> Curve:
    return Curve(GRID[: len(risks)], np.array(risks))


def curves(
    labels: str | list[str], risks: Array, seed: int | list[int] = 0, condition: str = SHOTS.name
) -> list[pd.DataFrame]:
    """Risks [levels] of one label and seed, or [levels, n] of n; one episode each."""
    table = risks[:, None] if risks.ndim == 1 else risks
    return [
        rows(labels, condition, level[:, None], seed=seed, level=i)
        for i, level in enumerate(table, start=1)
    ]


def panel(*parts: pd.DataFrame, records: list[Record] | None = None, **protocol: object) -> Panel:
    return panel_of(*parts, conditions=[SHOTS], records=records, **protocol)


BASE = curves("ridge", 1 / GRID)


@pytest.mark.parametrize(
    ("risk", "near", "found"),
    [
        (0.5, 0, (2, "")),
        (0.75, 0, (2**0.5, "")),
        (1.0, 0, (1, "")),
        (0.25, 0, (4, "")),
        (0.25, 6, (6, "")),
        (0.25, 99, (8, "")),
        (0.1, 0, (16, "")),
        (0.05, 0, (16, "above")),
        (1.5, 0, (1, "below")),
    ],
)
def test_a_curve_is_read_at_a_risk(risk: float, near: float, found: tuple[float, str]) -> None:
    shots, censored = curve(1, 0.5, 0.25, 0.25, 0.1).needed(risk, near)
    assert (shots, censored) == (pytest.approx(found[0]), found[1])


RISKS = st.lists(st.integers(0, 40).map(lambda i: i / 10), min_size=2, max_size=7)


@given(RISKS, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_reading_a_curve_backwards_gives_the_shots_again(risks: list[float], where: float) -> None:
    falling = curve(*risks).isotonic()
    assert (np.diff(falling.risks) <= 1e-12).all()
    shots = float(falling.shots[-1] ** where)
    risk = float(falling.at(shots))
    found, censored = falling.needed(risk, near=shots)
    assert censored == ""
    assert float(falling.at(found)) == pytest.approx(risk, abs=1e-9)
    assert falling.needed(risk)[0] <= found <= falling.needed(risk, near=1e9)[0]


@given(RISKS)
@settings(max_examples=50, deadline=None)
def test_the_fit_leaves_a_falling_curve_alone_and_keeps_the_mean(risks: list[float]) -> None:
    ordered = sorted(risks, reverse=True)
    assert curve(*ordered).isotonic().risks == pytest.approx(np.array(ordered))
    assert curve(*risks).isotonic().risks.mean() == pytest.approx(np.mean(risks))


def test_sample_complexity_is_where_the_fit_meets_the_baseline_of_64_shots() -> None:
    own = np.array([0.5, 0.25, 0.125, 1 / 64, 0.01, 0.01, 0.01])
    # 0.02 at 8 and 0.5 / 64 at 16 are a pair out of order: the fit has their mean at both.
    noisy = np.array([0.5, 0.25, 0.125, 0.5 / 64, 1.5 / 64, 0.01, 0.01])
    parts = [*BASE, *curves("maml", own), *curves("noisy", noisy), *curves("poor", 2 / GRID)]
    table = sample_complexity(panel(*parts, *curves("good", 0.01 * np.ones(7))))
    assert value_of(table, "maml") == pytest.approx(8)
    assert value_of(table, "noisy") == pytest.approx(8)
    assert value_of(table, "ridge") == pytest.approx(64)
    censored = table.set_index("label")["censored"]
    assert (value_of(table, "poor"), censored["poor"]) == (64, "above")
    assert (value_of(table, "good"), censored["good"]) == (1, "below")


def test_the_surplus_is_summed_over_every_number_of_shots() -> None:
    small = role("shot", 1, 2, 4)
    parts = [*curves("ridge", np.array([1, 0.5, 0.25]), condition=small.name)]
    parts += curves("maml", np.array([0.75, 0.45, 0.15]), condition=small.name)
    parts += curves("poor", np.array([0.75, 0.5, 0.5]), condition=small.name)
    table = surplus_description_length(panel_of(*parts, conditions=[small]))
    # At 3 shots: 0.45 - 0.3 log2(3 / 2).
    third = 0.45 - 0.3 * np.log2(1.5)
    assert value_of(table, "maml") == pytest.approx(0.5 + 0.2 + (third - 0.25))
    assert value_of(table, "poor") == pytest.approx(0.5 + 3 * 0.25)
    assert table.set_index("label")["censored"].to_dict() == {
        "ridge": "",
        "maml": "",
        "poor": "above",
    }


def test_the_ratio_is_how_many_shots_of_the_baseline_one_is_worth() -> None:
    parts = [*BASE, *curves("maml", 0.25 / GRID), *curves("poor", 4 / GRID)]
    table = data_equivalence(panel(*parts))
    found = table[table["label"] == "maml"]
    assert found["value"].tolist() == pytest.approx([4, 4, 4, 4, 4, 2, 1])
    assert found["censored"].tolist() == [""] * 5 + ["above"] * 2
    poor = table[table["label"] == "poor"]
    assert poor["value"].tolist() == pytest.approx([1, 0.5] + [0.25] * 5)
    assert poor["censored"].tolist() == ["below"] * 2 + [""] * 5


@given(st.lists(st.floats(0.1, 5), min_size=7, max_size=7))
@settings(max_examples=25, deadline=None)
def test_the_baseline_is_worth_itself_however_noisy(risks: list[float]) -> None:
    table = data_equivalence(panel(*curves("ridge", np.array(risks))))
    assert table["value"].to_numpy() == pytest.approx(1)
    assert (table["censored"] == "").all()


def test_the_baseline_is_the_best_of_each_number_of_shots() -> None:
    other = np.where(GRID > 4, 0.5 / GRID, 9.0)
    parts = [*BASE, *curves("nn", other), *curves("maml", 0.25 / GRID)]
    records = [record_of("ridge"), record_of("nn")]
    whole = panel(*parts, records=records, baselines=["ridge", "nn"])
    table = data_equivalence(whole)
    # 0.5 / 16 is the risk of 0.25 / 8: from 8 shots on the better baseline needs two a shot.
    assert value_of(table, "maml", shots=8.0) == pytest.approx(2)
    assert value_of(table, "maml", shots=1.0) == pytest.approx(4)


def test_the_levels_of_shots_may_come_in_any_order() -> None:
    falling = role("shot", *GRID[::-1])
    parts = curves("ridge", 1 / GRID[::-1], condition=falling.name)
    parts += curves("maml", 0.25 / GRID[::-1], condition=falling.name)
    table = data_equivalence(panel_of(*parts, conditions=[falling]))
    assert value_of(table, "maml", shots=1.0, level=7) == pytest.approx(4)
    assert value_of(table, "maml", shots=32.0, level=2) == pytest.approx(2)


def test_a_learner_that_lacks_a_level_or_a_baseline_has_no_curve() -> None:
    assert data_equivalence(panel(*curves("maml", 1 / GRID))).empty
    lacking = data_equivalence(panel(*BASE, *curves("maml", 1 / GRID)[:-1]))
    assert set(lacking["label"]) == {"ridge"}


def trained(name: str, examples: int, **changes: object) -> Record:
    used = Usage(tasks=10, examples=examples, steps=1, seconds=300.0)
    return record_of(name, used=used, **changes)


def test_meta_training_pays_off_when_the_examples_saved_exceed_its_own() -> None:
    parts = [*BASE, *curves("maml", 0.25 / GRID), *curves("poor", 4 / GRID)]
    records = [record_of("ridge", used=Usage()), trained("maml", 6000), trained("poor", 6000)]
    table = break_even_tasks(panel(*parts, records=records))
    assert set(table["label"]) == {"maml", "poor"}
    # At 2 shots the baseline needs 8: six examples saved a task.
    assert value_of(table, "maml", shots=2.0) == pytest.approx(1000)
    last = table[(table["label"] == "maml") & (table["shots"] == 32)]
    assert (last["value"].item(), last["censored"].item()) == (pytest.approx(6000 / 32), "below")
    assert (table.loc[table["label"] == "poor", "value"] == np.inf).all()
    guessing = {"kind": "classification", "episode": "5-way, 1 shot, 15 query a class"}
    shared = break_even_tasks(panel(*parts, records=records, **guessing))
    assert value_of(shared, "maml", shots=2.0) == pytest.approx(200)
    varying = guessing | {"episode": "(2, 5)-way, 1 shot, 15 query a class"}
    unknown = break_even_tasks(panel(*parts, records=records, **varying))
    assert unknown["value"].isna().all()


def test_in_seconds_meta_training_pays_off_if_adaptation_is_faster_than_the_baseline() -> None:
    parts = [rows(name, IN_DISTRIBUTION, [risk, risk]) for name, risk in
             (("ridge", 1.0), (ORACLE, 0.0), ("maml", 0.5), ("slow", 0.5))]  # fmt: skip
    parts.append(rows("maml", SHOTS.name, [0.5, 0.5]))
    records = [
        record_of("ridge", used=Usage(), evaluation_seconds=1.0),
        trained("maml", 10, evaluation_seconds=0.4),
        trained("slow", 10, evaluation_seconds=2.0),
    ]
    table = break_even_seconds(panel(*parts, records=records))
    # 0.5 s an episode for the baseline, 0.1 s for each of the four of the learner.
    assert value_of(table, "maml") == pytest.approx(300 / 0.4)
    assert value_of(table, "slow") == np.inf
    assert set(table["label"]) == {"maml", "slow"}


RUNS = 400


def simulated(rng: np.random.Generator, truth: float, seeds: int, **protocol: object) -> Panel:
    """The learner has at K the baseline's mean risk at truth * K; seeds and episodes are noisy."""
    n = RUNS * seeds
    names = [f"f{i // seeds}" for i in range(n)]
    true = Curve(np.r_[GRID, 1e4], np.r_[1 / GRID**0.5, 0.01])
    hard = 1 + 0.05 * rng.normal(size=(len(GRID), n))
    own = true.at(truth * GRID)[:, None] * np.exp(0.05 * rng.normal(size=n)) * hard
    base = true.at(GRID)[:, None] * hard
    seed = list(range(n))
    return panel(*curves("ridge", base, seed), *curves(names, own, seed), **protocol)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_geometric_interval_of_the_ratio_covers_it(seeds: int) -> None:
    table = data_equivalence(simulated(np.random.default_rng(seeds), 2.5, seeds))
    middle = table[(table["label"] != "ridge") & (table["shots"] == 8)].sort_values("seed")
    values = np.log(middle["value"].to_numpy(np.float64)).reshape(RUNS, seeds)
    intervals = [t_interval(list(v)) for v in values]
    covered = np.mean([i.low <= np.log(2.5) <= i.high for i in intervals if i.low and i.high])
    assert covered >= 0.95 - 3 * (0.95 * 0.05 / RUNS) ** 0.5


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("threshold", [1.5, 1.0])
def test_a_learner_at_the_threshold_is_flagged_in_5_percent_at_most(
    threshold: float, seeds: int
) -> None:
    probe = Probe(estimator="der", threshold=threshold, flag="below", level=4)
    rng = np.random.default_rng(seeds)
    table = probe_table(simulated(rng, threshold, seeds, probes=[probe]))
    flags = table.loc[table["label"] != "ridge", "flagged"].astype(float)
    assert len(flags) == RUNS
    assert flags.mean() <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5


def test_ratios_and_counts_are_averaged_by_their_logarithm() -> None:
    names = {"der", "sample-complexity", "break-even-tasks", "break-even-seconds"}
    assert {n for n in names if ESTIMATORS.get(n).log} == names
