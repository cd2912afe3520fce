"""The rules: known answers, and which error each caps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from metabench.gate.decision import NEGLIGIBLE, Policy, decide

BLOCK, MERGE = Policy("block", 0.01, 0.05), Policy("merge", 0.01, 0.05)
DIFFERENCES = st.lists(
    st.floats(-0.2, 0.2).map(lambda x: round(x, 4)), min_size=3, max_size=12
).filter(lambda d: np.std(d) > 1e-3)


@given(DIFFERENCES)
@settings(max_examples=200, deadline=None)
def test_block_blocks_exactly_where_the_upper_bound_is_below_zero(d: list[float]) -> None:
    decision = decide(np.array(d), [np.array(d)], BLOCK)
    high = decision.overall.interval.high
    assert high is not None
    if abs(high) > 1e-9:
        assert (decision.status == "regression") == (high < 0)
    assert decision.overall.alpha == BLOCK.alpha


@given(DIFFERENCES)
@settings(max_examples=200, deadline=None)
def test_merge_passes_exactly_where_one_side_of_tost_rejects(d: list[float]) -> None:
    candidate = np.array(d)
    result = ttost_paired(candidate, np.zeros_like(candidate), -MERGE.margin, 1e6)
    p = float(result[1][1])  # of the lower side: the loss is at least the margin
    if abs(p - MERGE.alpha) > 1e-6:
        passes = decide(candidate, [candidate], MERGE).status == "pass"
        assert passes == (p < MERGE.alpha)


def test_merge_tells_a_loss_from_too_few_seeds() -> None:
    lost = np.array([-0.05, -0.06, -0.04, -0.05])
    wide = np.array([-0.05, 0.06, 0.01, -0.02])
    assert decide(lost, [lost], MERGE).status == "regression"
    assert decide(wide, [wide], MERGE).status == "undecided"
    assert decide(wide, [wide], BLOCK).status == "pass"


@pytest.mark.parametrize("policy", [BLOCK, MERGE])
@pytest.mark.parametrize("seeds", [1, 2])
def test_one_and_two_seeds_decide_nothing_but_equality(policy: Policy, seeds: int) -> None:
    lost, same = -0.3 * np.arange(1.0, seeds + 1), np.zeros(seeds)
    assert decide(lost, [lost], policy).status == "undecided"
    assert decide(same, [same], policy).status == "pass"


def test_how_another_machine_rounds_is_no_regression_however_surely_it_is_seen() -> None:
    d = -1e-8 * np.array([1.0, 1.1, 0.9, 1.0, 1.05])
    assert abs(d.mean()) < NEGLIGIBLE
    decision = decide(d, [d, d], BLOCK)
    assert decision.overall.p is not None
    assert decision.overall.p < 1e-4
    assert decision.status == "pass"


def test_a_constant_loss_is_a_regression_though_its_spread_is_nothing() -> None:
    d = np.full(3, -0.25)
    assert decide(d, [d], BLOCK).status == "regression"


def test_several_families_share_alpha_with_the_overall_difference() -> None:
    noise = np.array([0.011, -0.012, 0.004, -0.006, 0.003])
    lost, fine = -0.05 + noise / 5, [noise * s for s in (1, -1, 0.5, -0.5, 0.2)]
    families = [lost, *fine]
    decision = decide(np.mean(families, axis=0), families, BLOCK)
    assert decision.overall.alpha == BLOCK.alpha / 2
    assert [t.status for t in decision.families] == ["regression", *["pass"] * 5]
    assert decision.status == "regression"
    first = decision.families[0]
    assert first.p is not None
    assert first.adjusted == pytest.approx(6 * first.p)


def test_a_family_that_loses_cannot_hide_in_the_mean_of_others_under_merge() -> None:
    gain = np.array([0.21, 0.2, 0.19, 0.2])
    lost = np.array([-0.11, -0.1, -0.09, -0.1])
    decision = decide((gain + lost) / 2, [gain, lost], MERGE)
    assert decision.overall.status == "pass"
    assert decision.status == "regression"


def test_power_is_that_of_the_rule() -> None:
    d = np.array([0.006, -0.006, 0.009, -0.009, 0.0])
    test = decide(d, [d], BLOCK).overall
    needed = test.seeds_needed(0.01)
    assert test.detectable is not None
    assert test.power(test.detectable) == pytest.approx(0.8, abs=1e-3)
    assert needed is not None
    assert needed > 5
    rng = np.random.default_rng(1)
    worlds = rng.normal(-0.01, test.spread, (2_000, 5))
    hits = np.mean([decide(w, [w], BLOCK).status == "regression" for w in worlds])
    assert hits == pytest.approx(test.power(0.01), abs=0.035)
