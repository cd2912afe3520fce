"""Aggregate bootstrap beside rliable's, side by side in one process.

    bash benchmarks/peers/install_rliable.sh
    .venv-rliable/bin/python benchmarks/peers/bootstrap_speed.py

Both give the interval of the interquartile mean of 10 learners, 10 seeds by 30 tasks each, as
rliable's ``get_interval_estimates`` does: seeds are drawn within tasks, as many as there are, and
the interval is by percentiles. rliable is timed on fewer resamples and scaled, since its time is
proportional to them (both are printed); intervals are compared on equal numbers.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rliable import library, metrics  # type: ignore[import-not-found]
from scipy import stats

from metabench.statistics import aggregate

LEARNERS, SEEDS, TASKS = 10, 10, 30


def theirs(scores: dict[str, np.ndarray], resamples: int) -> dict[str, np.ndarray]:
    """[low, high] of each learner."""
    _, intervals = library.get_interval_estimates(
        scores, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=resamples
    )
    return {name: np.asarray(value).ravel() for name, value in intervals.items()}


def ours(scores: dict[str, np.ndarray], resamples: int) -> dict[str, np.ndarray]:
    """The same."""
    rng = np.random.default_rng(0)
    return {
        name: np.percentile(
            aggregate.resampled(s, aggregate.iqm, rng, resamples, SEEDS, apart=True), [2.5, 97.5]
        )
        for name, s in scores.items()
    }


def main() -> None:
    """Time both in turns, compare intervals, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=50_000)
    parser.add_argument("--theirs", type=int, default=2_000, help="resamples a round for rliable")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    scores = {f"learner {i}": rng.normal(i / 10, 0.3, (SEEDS, TASKS)) for i in range(LEARNERS)}
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(given.rounds):
        start = time.perf_counter()
        found = ours(scores, given.resamples)
        middle = time.perf_counter()
        expected = theirs(scores, given.theirs)
        end = time.perf_counter()
        times["ours"].append(middle - start)
        times["theirs"].append((end - middle) * given.resamples / given.theirs)
    best = {name: min(values) for name, values in times.items()}
    print(f"{given.resamples} resamples, {LEARNERS} learners, {SEEDS} seeds, {TASKS} tasks")
    print(f"metabench {best['ours']:.2f} s; rliable {best['theirs']:.1f} s (scaled up from "
          f"{given.theirs} resamples); ratio {best['theirs'] / best['ours']:.0f}")  # fmt: skip
    # The standard error of a 2.5 % quantile of n normal draws, in standard deviations.
    error = np.sqrt(0.025 * 0.975 / given.theirs) / stats.norm.pdf(stats.norm.ppf(0.025))
    width = {name: (v[1] - v[0]) / 3.92 for name, v in found.items()}
    apart = max(np.abs(found[n] - expected[n]).max() / width[n] / error for n in scores)
    print(
        f"bounds differ by at most {apart:.1f} Monte-Carlo standard errors ({2 * LEARNERS} bounds)"
    )


if __name__ == "__main__":
    main()
