"""Paired comparisons, and adjusting for many of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from metabench.statistics.comparison import benjamini_hochberg, holm, paired, sign_flip


def test_few_seeds_are_compared_by_students_test() -> None:
    a, b = [0.9, 0.7, 0.8, 0.85], [0.6, 0.65, 0.7, 0.6]
    result = paired(a, b)
    assert result.test == "paired t"
    assert result.p == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_eight_seeds_are_compared_by_all_256_flips_of_signs() -> None:
    d = np.array([0.3, -0.1, 0.4, 0.2, 0.5, -0.2, 0.1, 0.6])
    flips = [abs((np.array(s) * d).mean()) for s in product((1, -1), repeat=8)]
    exact = np.mean([m >= abs(d.mean()) - 1e-12 for m in flips])
    assert sign_flip(d) == pytest.approx(exact)
    assert paired(d, np.zeros(8)).test == "sign flip"
    assert paired(d, np.zeros(8)).p == pytest.approx(exact)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10))
def test_swapping_the_learners_swaps_the_verdict_and_nothing_else(values: list[float]) -> None:
    zeros = [0.0] * len(values)
    one, other = paired(values, zeros), paired(zeros, values)
    assert one.p == pytest.approx(other.p)
    assert one.difference.mean == pytest.approx(-other.difference.mean)
    swapped = {"ahead": "behind", "behind": "ahead", "cannot separate": "cannot separate"}
    assert one.verdict() == swapped[other.verdict()]


def test_equal_learners_differ_by_exactly_nothing() -> None:
    for seeds in (3, 9):
        result = paired([0.5] * seeds, [0.5] * seeds)
        assert (result.p, result.difference.mean, result.verdict()) == (1.0, 0.0, "cannot separate")
        assert result.words("a", "b") == f"a and b are equal on each of {seeds} seeds"


def test_one_seed_is_never_a_verdict() -> None:
    result = paired([1.0], [0.0])
    assert result.p is None
    assert result.verdict() == "cannot separate"
    assert result.words("a", "b") == "a and b cannot be separated with one seed"


def test_words_say_what_the_seeds_could_have_seen() -> None:
    unclear = paired([0.5, 0.7, 0.6], [0.6, 0.5, 0.6])
    assert "cannot be separated with 3 seeds" in unclear.words("maml", "anil")
    assert f"3 seeds see {unclear.detectable:.2g} or more" in unclear.words("maml", "anil")
    clear = paired([0.9, 0.91, 0.92], [0.5, 0.52, 0.51])
    assert clear.words("protonet", "maml").startswith("protonet is ahead of maml by +0.4")
    assert "behind" in paired([0.5, 0.52, 0.51], [0.9, 0.91, 0.92]).words("a", "b")


def test_a_comparison_needs_the_same_seeds() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        paired([1.0, 2.0], [1.0])


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_adjustment_is_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_what_was_not_tested_is_not_counted() -> None:
    assert holm([0.02, np.nan]) == pytest.approx([0.02, np.nan], nan_ok=True)
    found = benjamini_hochberg([0.01, np.nan, 0.5])
    assert found == pytest.approx([0.02, np.nan, 0.5], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()
