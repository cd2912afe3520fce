"""Flags: the bound, its side, and what cannot be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metabench.errors import MetabenchError
from metabench.estimators import Panel, probe_table
from metabench.records import IN_DISTRIBUTION, ORACLE, Probe
from tests.estimators.tables import panel_of, role, rows

SEEN, SHOTS = role("seen-tasks"), role("shot", 1, 2, 4)
GAIN = [rows(name, IN_DISTRIBUTION, np.full((10, 1), risk), seed=range(10)) for name, risk in
        (("ridge", 1.0), (ORACLE, 0.0))]  # fmt: skip


def gap_probe(threshold: float = 0.25, **changes: Any) -> Probe:
    return Probe(estimator="gap", threshold=threshold, **({"flag": "above"} | changes))


def gaps(probes: list[Probe], **values: list[float]) -> Panel:
    """Learners whose GAP at each seed is chosen: the gain is 1. NaN has no rows at home."""
    parts = list(GAIN)
    for label, gap in values.items():
        column = np.array(gap)[:, None]
        parts.append(rows(label, IN_DISTRIBUTION, 0.5 + 0 * column, seed=range(len(gap))))
        parts.append(rows(label, SEEN.name, 0.5 - np.nan_to_num(column), seed=range(len(gap))))
    return panel_of(*parts, conditions=[SEEN], probes=probes)


def verdict(panel: Panel, label: str = "maml", **where: object) -> dict[str, Any]:
    table = probe_table(panel)
    table = table[table["label"] == label]
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    (row,) = table.to_dict("records")
    return row


def test_a_learner_is_flagged_if_the_one_sided_bound_lies_beyond_the_threshold() -> None:
    values = [0.3, 0.4, 0.5, 0.6]
    row = verdict(gaps([gap_probe()], maml=values))
    # t(0.95, 3 degrees of freedom) = 2.353.
    bound = 0.45 - 2.353363 * np.std(values, ddof=1) / 2
    assert (row["mean"], row["bound"]) == pytest.approx((0.45, bound))
    assert (row["seeds"], row["condition"], row["level"]) == (4, SEEN.name, 1)
    assert row["flagged"] is True
    assert verdict(gaps([gap_probe(0.35)], maml=values))["flagged"] is False
    below = verdict(gaps([gap_probe(0.6, flag="below")], maml=values))
    assert below["bound"] == pytest.approx(0.9 - bound)
    assert below["flagged"] is False
    assert verdict(gaps([gap_probe(0.61, flag="below")], maml=values))["flagged"] is True


def test_where_a_probe_looks_at_many_levels_one_bound_beyond_is_not_enough() -> None:
    spread = np.array([[-0.1], [0.0], [0.1], [0.0]])

    def flags(*gaps: float) -> list[tuple[bool, str]]:
        parts = [rows("maml", IN_DISTRIBUTION, np.zeros((4, 1)), seed=range(4))]
        parts += [
            rows("maml", SHOTS.name, gap + spread, seed=range(4), level=level)
            for level, gap in enumerate(gaps, 1)
        ]
        probe = Probe(estimator="ood-gap", threshold=0.0, flag="above")
        table = probe_table(panel_of(*parts, conditions=[SHOTS], probes=[probe]))
        return [(row.flagged, row.reason) for row in table.itertuples()]

    # A gap of 0.12 has t = 2.94 and p = 0.030: enough alone, not among three.
    alone = stats.ttest_1samp((0.12 + spread).ravel(), 0.0, alternative="greater").pvalue
    assert 0.05 / 3 < alone < 0.05
    assert flags(0.12) == [(True, "")]
    lost = (False, "not after Holm's correction over 3 conditions and levels")
    assert flags(0.12, 0.0, 0.0) == [lost, (False, ""), (False, "")]
    # Once the clear ones are rejected, the last stands alone again.
    assert [flag for flag, _ in flags(0.12, 2.0, 2.0)] == [True, True, True]


def test_one_seed_never_raises_a_flag() -> None:
    row = verdict(gaps([gap_probe()], maml=[9.0]))
    assert (row["flagged"], row["reason"], row["mean"]) == (None, "needs 2 seeds", 9)
    assert np.isnan(row["bound"])


def test_seeds_without_a_value_are_left_out_and_counted() -> None:
    row = verdict(gaps([gap_probe()], maml=[0.4, np.nan, 0.41, 0.42]))
    assert (row["flagged"], row["seeds"]) == (True, 3)
    assert row["reason"] == "undefined in 1 of 4 seeds"
    none = verdict(gaps([gap_probe()], maml=[np.nan, np.nan]))
    assert (none["flagged"], none["seeds"], none["reason"]) == (
        None,
        0,
        "undefined in 2 of 2 seeds",
    )


def test_a_learner_without_the_condition_is_not_judged() -> None:
    other = rows("nn", IN_DISTRIBUTION, [0.5])
    whole = gaps([gap_probe(condition=SEEN.name)], maml=[0.1, 0.1])
    whole.rows.loc[len(whole.rows)] = other.iloc[0]
    row = verdict(whole, "nn")
    assert (row["flagged"], row["reason"]) == (None, "not applicable: no values")
    assert row["condition"] == SEEN.name
    assert ORACLE not in set(probe_table(whole)["label"])


def test_probes_come_in_their_order_and_a_suite_without_them_flags_nobody() -> None:
    probes = [gap_probe(0.5), gap_probe(0.1)]
    table = probe_table(gaps(probes, maml=[0.2, 0.21], cnp=[0.6, 0.61]))
    assert table.loc[table["label"] == "maml", "threshold"].tolist() == [0.5, 0.1]
    assert table.loc[table["label"] == "cnp", "flagged"].tolist() == [True, True]
    assert probe_table(gaps([], maml=[0.2])).empty


def test_an_unknown_estimator_is_named_with_the_nearest() -> None:
    with pytest.raises(MetabenchError, match="gap"):
        probe_table(gaps([Probe(estimator="gapp", threshold=0, flag="above")], maml=[0.2]))


def shots(probe: Probe, *risks: list[float]) -> Panel:
    """Learner risks at 1, 2 and 4 shots for each seed; the baseline has 1.0, 0.5 and 0.25."""
    parts = []
    for seed, own in enumerate(risks):
        for level, (risk, base) in enumerate(zip(own, (1.0, 0.5, 0.25), strict=True), start=1):
            parts.append(rows("maml", SHOTS.name, [risk], seed=seed, level=level))
            parts.append(rows("ridge", SHOTS.name, [base], seed=seed, level=level))
    return panel_of(*parts, conditions=[SHOTS], probes=[probe])


def der_probe(threshold: float, **changes: Any) -> Probe:
    return Probe(estimator="der", threshold=threshold, **({"flag": "below"} | changes))


def test_of_ratios_mean_and_bound_are_geometric() -> None:
    # At 1 shot the learner is worth 2 and 4 shots of the baseline.
    row = verdict(shots(der_probe(1.5), [0.5, 0.4, 0.3], [0.25, 0.25, 0.25]), level=1)
    assert row["mean"] == pytest.approx(8**0.5)
    spread = np.log(2) / 2  # standard error of log 2 and log 4
    assert row["bound"] == pytest.approx(8**0.5 * np.exp(stats.t.ppf(0.95, 1) * spread))
    assert row["flagged"] is False


def test_a_probe_reads_the_level_that_it_names() -> None:
    table = probe_table(shots(der_probe(1.5, level=2), [1.0, 0.5, 0.25], [1.0, 0.5, 0.25]))
    assert table["level"].unique().tolist() == [2]
    assert table.loc[table["label"] == "maml", "flagged"].item() is True


def test_a_flag_that_rests_on_censored_values_is_not_raised() -> None:
    # Better than the baseline ever is: at 4 shots the ratio is 1 or more.
    beyond = shots(der_probe(1.5, level=3), [0.2, 0.2, 0.2], [0.2, 0.2, 0.2])
    row = verdict(beyond)
    assert (row["flagged"], row["mean"]) == (None, 1)
    assert row["reason"].startswith("censored")
    # Worse than the baseline at 1 shot: at most 1, which is less than 1.5 all the same.
    worse = shots(der_probe(1.5, level=1), [2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    assert verdict(worse)["flagged"] is True
    assert (
        verdict(shots(der_probe(0.5, level=1, flag="above"), *[[2.0] * 3] * 2))["flagged"] is None
    )


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_a_flag_above_is_one_below_of_the_mirrored_values(
    values: list[float], threshold: float
) -> None:
    above = verdict(gaps([gap_probe(threshold)], maml=values))
    mirrored = [-v for v in values]
    below = verdict(gaps([gap_probe(-threshold, flag="below")], maml=mirrored))
    assert above["bound"] == pytest.approx(-below["bound"], abs=1e-9)
    if abs(above["bound"] - threshold) > 1e-9:
        assert above["flagged"] is below["flagged"]
    if above["flagged"]:
        assert above["mean"] >= above["bound"] > threshold


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_at_the_threshold_5_percent_are_flagged_and_far_beyond_nearly_all(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    runs = 1000
    names = [f"f{i}" for i in range(runs) for _ in range(seeds)]
    numbers = list(range(seeds)) * runs
    for truth, lowest, highest in ((0.25, 0.03, 0.07), (1.5, 0.9, 1.0)):
        values = truth + 0.1 * rng.normal(size=(runs * seeds, 1))
        home = rows(names, IN_DISTRIBUTION, 0.5 + 0 * values, seed=numbers)
        seen = rows(names, SEEN.name, 0.5 - values, seed=numbers)
        table = probe_table(panel_of(*GAIN, home, seen, conditions=[SEEN], probes=[gap_probe()]))
        flags = table.loc[table["label"] != "ridge", "flagged"].astype(float)
        assert len(flags) == runs
        # Three standard errors are 0.021.
        assert lowest - 0.001 <= flags.mean() <= highest + 0.001
