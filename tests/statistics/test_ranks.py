"""Rank sets, tiers, and families as blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs as posthocs
from baycomp import SignedRankTest
from scipy import stats

from metabench.statistics.families import (
    critical_difference,
    friedman,
    signed_rank_posterior,
    wilcoxon_holm,
)
from metabench.statistics.ranks import mean_ranks, rank_sets, set_of_best


def test_entrants_far_apart_have_one_rank_each() -> None:
    rng = np.random.default_rng(0)
    scores = np.array([0.0, 10.0, 5.0])[:, None] + 0.01 * rng.normal(size=(3, 5))
    places = rank_sets(scores)
    assert [p.text for p in places] == ["3", "1", "2"]
    assert [p.tier for p in places] == [3, 1, 2]
    assert set_of_best(places) == [1]


def test_equal_entrants_span_all_ranks_in_one_tier() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    places = rank_sets(scores)
    assert {p.text for p in places} == {"1-4"}
    assert {p.tier for p in places} == {1}
    assert set_of_best(places) == [0, 1, 2, 3]


def test_ranks_belong_to_the_pool_of_entrants() -> None:
    scores = np.array([[5.0, 5.1, 5.2], [1.0, 1.1, 1.3], [9.0, 9.3, 9.1]])
    assert rank_sets(scores)[0].text == "2"
    assert rank_sets(scores[:2])[0].text == "1"


def test_an_entrant_without_seeds_or_with_one_can_be_anywhere() -> None:
    scores = np.array([[5.0, 5.1, 5.2], [np.nan] * 3, [np.nan, 5.0, np.nan], [1.0, 1.2, 1.1]])
    places = rank_sets(scores)
    assert places[1].text == "1-4"
    assert places[2].text == "1-4"
    assert places[0].text == "1-3"
    assert places[3].text == "2-4"


def test_friedman_and_wilcoxon_are_scipys_with_best_ranked_first() -> None:
    scores = np.random.default_rng(1).normal(size=(10, 3)) + np.array([2.0, 0.0, 0.5])
    result = friedman(scores)
    assert result.ranks.argmin() == 0
    assert result.p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    table = wilcoxon_holm(scores)
    first = table.set_index(["a", "b"]).loc[(0, 1)]
    assert first["p"] == pytest.approx(stats.wilcoxon(scores[:, 0], scores[:, 1]).pvalue)
    assert (table["adjusted"] >= table["p"]).all()


@pytest.mark.parametrize("scores", [np.ones((5, 2)), np.ones((1, 3)), np.full((5, 3), np.nan)])
def test_friedmans_test_says_what_it_needs(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="three learners"):
        friedman(scores)


def test_the_critical_difference_is_demsars() -> None:
    """Demsar 2006, table 5: q = 2.343 for three and 2.728 for five classifiers."""
    assert critical_difference(3, 14) == pytest.approx(2.343 * np.sqrt(12 / 84), abs=1e-3)
    assert critical_difference(5, 30) == pytest.approx(2.728 * np.sqrt(30 / 180), abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_and_the_critical_difference_are_those_of_scikit_posthocs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (12, 4)) + np.array([0.0, 0.0, 0.8, 1.6])
    long = pd.DataFrame(scores).melt(var_name="learner", value_name="score")
    expected = posthocs.posthoc_wilcoxon(
        long, val_col="score", group_col="learner", p_adjust="holm"
    )
    for row in wilcoxon_holm(scores).itertuples():
        assert row.adjusted == pytest.approx(expected.loc[row.a, row.b], rel=1e-6)
    nemenyi = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    ranks, apart = friedman(scores).ranks, critical_difference(4, 12)
    for a in range(4):
        for b in range(a):
            assert (abs(ranks[a] - ranks[b]) > apart) == (nemenyi[a, b] < 0.05)


def test_the_posterior_names_the_side_that_is_ahead() -> None:
    ahead = np.array([2.1, 3.0, 2.5, 1.9, 2.2, 2.8, 3.1, 2.4])
    assert signed_rank_posterior(ahead, rope=1.0)[2] > 0.95
    assert signed_rank_posterior(-ahead, rope=1.0)[0] > 0.95
    assert signed_rank_posterior(ahead / 10, rope=1.0)[1] > 0.95
    left, _, right = SignedRankTest.probs(ahead, np.zeros(8), rope=1.0, random_state=0)
    assert left > right, "baycomp names the first first"


def test_mean_ranks_are_of_a_seed_with_an_interval_over_seeds() -> None:
    scores = np.array(
        [[[3.0, 3.0], [1.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]], [[1.0, 1.0], [2.0, 1.0]]]
    )
    found = mean_ranks(scores)
    assert [i.mean for i in found] == [1.5, 1.875, 2.625]
    (first, _, _) = found
    assert first.half_width == pytest.approx(
        stats.t.ppf(0.975, 1) * np.std([1, 2], ddof=1) / 2**0.5
    )
