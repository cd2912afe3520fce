"""Intervals over seeds: validated by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metabench.statistics.intervals import format_interval, t_interval


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_covers_the_true_mean_95_percent_of_the_time(seeds: int) -> None:
    """Seed SD 1, episode SD 8, 600 episodes of each seed's own: what a benchmark meets."""
    rng = np.random.default_rng(seeds)
    runs = 4000
    means = rng.normal(0, 1, (runs, seeds)) + rng.normal(0, 8 / np.sqrt(600), (runs, seeds))
    covered = sum((i := t_interval(list(m))).low <= 0 <= i.high for m in means)  # type: ignore[operator]
    assert stats.binomtest(covered, runs, 0.95).pvalue > 1e-4


def test_treating_episodes_as_replicates_would_cover_far_less() -> None:
    """Why the seed is the replicate: pooled episodes cover half of the time."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        seed_means = rng.normal(0, 1, 3)
        episodes = (seed_means[:, None] + rng.normal(0, 8, (3, 600))).ravel()
        half = 1.96 * episodes.std(ddof=1) / np.sqrt(episodes.size)
        covered += abs(episodes.mean()) <= half
    assert covered / 500 < 0.7


def test_it_equals_scipys() -> None:
    values = [0.3, 0.5, 0.45, 0.61]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = t_interval(values)
    assert (found.low, found.high) == pytest.approx(expected)


def test_one_seed_has_no_interval_and_says_so() -> None:
    found = t_interval([0.71])
    assert (found.low, found.high, found.half_width) == (None, None, None)
    assert format_interval(found) == "0.71 (1 seed: no interval)"
    assert format_interval(t_interval([0.7, 0.72])).endswith("(2 seeds)")


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("nan")]])
def test_nothing_and_nan_have_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match="interval"):
        t_interval(values)
