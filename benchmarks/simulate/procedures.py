"""Does every statistical procedure do what it says? Coverage and error rates by simulation.

    python benchmarks/simulate/procedures.py

A procedure meets worlds whose truth is known, at the numbers of meta-seeds people use. Seeds differ
with SD 1, episodes of a seed with SD 8, an episode's own difficulty has SD 6, as accuracies in
percent do. Results go to ``results.json`` beside this file, and from there to docs/statistics.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metabench.statistics import aggregate, comparison, families, power, ranks
from metabench.statistics.intervals import Interval, t_interval
from metabench.statistics.sequential import BettingInterval

Array = NDArray[np.float64]
Trial = Callable[[np.random.Generator], bool]

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
START, END = "<!-- simulated: benchmarks/simulate/procedures.py -->", "<!-- end -->"
SEED_SD, EPISODE_SD, DIFFICULTY_SD, EPISODES = 1.0, 8.0, 6.0, 600
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Study:
    """One row: how often ``trial`` is true in independent worlds, and how often it should be."""

    procedure: str
    quantity: str
    """What the rate is of: "coverage", "false alarms", ..."""
    world: str
    seeds: int | None
    low: float
    high: float
    """The rate lies between, if the procedure keeps its word."""
    trial: Trial
    cost: int = 1
    """Replicates are divided by it."""
    offered: bool = True
    """False: shown for contrast, and not part of metabench."""


@dataclass(frozen=True)
class Row:
    """What came out; ``lower`` and ``upper`` are Clopper-Pearson's 95 % interval of the rate."""

    procedure: str
    quantity: str
    world: str
    seeds: int | None
    rate: float
    lower: float
    upper: float
    replicates: int
    low: float
    high: float
    offered: bool

    @property
    def kept(self) -> bool:
        """Whether the simulation leaves it possible that the rate is where it should be."""
        return self.upper >= self.low and self.lower <= self.high


def contains(interval: Interval, truth: float) -> bool:
    """Whether the truth is inside."""
    if interval.low is None or interval.high is None:
        return False
    return interval.low <= truth <= interval.high


def normal_seeds(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Effects of seeds."""
    return rng.normal(0, SEED_SD, shape)


def skewed_seeds(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The same mean and spread with a long lower tail: trainings that went badly (skewness -2)."""
    return SEED_SD * (1 - rng.exponential(1.0, shape))


WORLDS = {"normal seeds": normal_seeds, "skewed seeds": skewed_seeds}
Effects = Callable[[np.random.Generator, tuple[int, ...]], Array]


def own_episodes(effects: Effects, seeds: int, rng: np.random.Generator) -> Array:
    """Per-seed means, each seed with episodes of its own."""
    noise = np.hypot(EPISODE_SD, DIFFICULTY_SD) / np.sqrt(EPISODES)
    return effects(rng, (seeds,)) + rng.normal(0, noise, seeds)


def shared_episodes(effects: Effects, seeds: int, rng: np.random.Generator) -> Array:
    """[J, N]: all seeds see the same episodes."""
    return np.asarray(
        effects(rng, (seeds, 1))
        + rng.normal(0, DIFFICULTY_SD, EPISODES)
        + rng.normal(0, EPISODE_SD, (seeds, EPISODES))
    )


def t_covers(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """The interval of every board."""
    return contains(t_interval(own_episodes(effects, seeds, rng).tolist()), 0.0)


def t_on_shared_covers(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """The same where it is not meant for."""
    return contains(t_interval(shared_episodes(effects, seeds, rng).mean(axis=1).tolist()), 0.0)


def crossed_covers(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """Seeds and episodes as crossed effects."""
    return contains(aggregate.crossed_interval(shared_episodes(effects, seeds, rng)), 0.0)


def published_covers(rng: np.random.Generator) -> bool:
    """What papers print."""
    scores = shared_episodes(normal_seeds, 1, rng)[0]
    return bool(abs(scores.mean()) <= 1.96 * scores.std() / np.sqrt(EPISODES))


TASK_MEANS = {30: np.linspace(-0.5, 1.0, 30), 6: np.linspace(-0.5, 1.0, 6)}
TASK_SD = 0.15


def scores_of(seeds: int, tasks: int, rng: np.random.Generator) -> Array:
    """Skills [J, M] of a learner on tasks of unequal difficulty."""
    return TASK_MEANS[tasks] + rng.normal(0, TASK_SD, (seeds, tasks))


STATISTICS = {
    "IQM": aggregate.iqm,
    "mean": aggregate.mean,
    "optimality gap": aggregate.optimality_gap,
}


def aggregate_covers(
    name: str, tasks: int, seeds: int, truth: float, rng: np.random.Generator
) -> bool:
    """The t-quantile times the bootstrap's deviation."""
    found = aggregate.bootstrap_interval(
        scores_of(seeds, tasks, rng), STATISTICS[name], rng, resamples=1_000
    )
    return contains(found, truth)


def improvement_covers(seeds: int, truth: float, rng: np.random.Generator) -> bool:
    """Two learners, one ahead by 0.1 on every task."""
    a, b = scores_of(seeds, 30, rng) + 0.1, scores_of(seeds, 30, rng)
    return contains(aggregate.improvement_interval(a, b, rng, resamples=1_000), truth)


def paired_rejects(effects: Effects, seeds: int, rng: np.random.Generator) -> bool:
    """Two equal learners."""
    a, b = (own_episodes(effects, seeds, rng) for _ in range(2))
    p = comparison.paired(a, b).p
    return p is not None and p <= 1 - CONFIDENCE


def episode_z_rejects(rng: np.random.Generator) -> bool:
    """Two equal learners, one seed each, episodes taken for replicates."""
    a, b = (shared_episodes(normal_seeds, 1, rng)[0] for _ in range(2))
    d = a - b
    return bool(abs(d.mean()) > 1.96 * d.std() / np.sqrt(EPISODES))


def power_holds(difference: float, seeds: int, rng: np.random.Generator) -> bool:
    """A true difference in units of the deviation between seeds."""
    d = rng.normal(difference, 1.0, seeds)
    return bool(stats.ttest_1samp(d, 0.0).pvalue <= 1 - CONFIDENCE)


def holm_errs(seeds: int, rng: np.random.Generator) -> bool:
    """Ten probes of one learner that is exactly at every threshold."""
    p = np.asarray(stats.ttest_1samp(rng.normal(size=(10, seeds)), 0.0, axis=1).pvalue)
    return bool((comparison.holm(p) <= 1 - CONFIDENCE).any())


def friedman_errs(blocks: int, seeds: int, rng: np.random.Generator) -> bool:
    """Five equal learners; ``seeds`` > 1 takes seeds of one family for blocks."""
    effects = rng.normal(0, 1, (blocks, 1, 5)) + rng.normal(0, 0.3, (blocks, seeds, 5))
    return families.friedman(effects.reshape(-1, 5)).p <= 1 - CONFIDENCE


def wilcoxon_errs(blocks: int, rng: np.random.Generator) -> bool:
    """Five equal learners."""
    table = families.wilcoxon_holm(rng.normal(size=(blocks, 5)))
    return bool((table["adjusted"] <= 1 - CONFIDENCE).any())


RANKED = np.array([2.0, 2.0, 2.0, 1.0, 0.0, 0.0])
FIRST, LAST = (1, 1, 1, 4, 5, 5), (3, 3, 3, 4, 6, 6)
"""The ranks that each entrant's tie spans."""


def ranks_cover(gap: float, seeds: int, rng: np.random.Generator) -> bool:
    """Three equal entrants, one behind, two equal ones behind that."""
    scores = gap * RANKED[:, None] + rng.normal(size=(6, seeds))
    places = ranks.rank_sets(scores)
    return all(
        p.low <= first and p.high >= last
        for p, first, last in zip(places, FIRST, LAST, strict=True)
    )


def betting_misses(chance: float, rng: np.random.Generator) -> bool:
    """Whether the truth is ever outside while a thousand episodes are watched one by one."""
    interval = BettingInterval()
    interval.update((rng.random(1_000) < chance).astype(np.float64))
    low, high = interval.bounds
    return not low <= chance <= high


def repeated_z_misses(chance: float, rng: np.random.Generator) -> bool:
    """The same with an interval that is meant for one look."""
    scores = (rng.random(1_000) < chance).astype(np.float64)
    n = np.arange(1, 1_001)
    mean = scores.cumsum() / n
    half = 1.96 * np.sqrt(np.maximum(mean * (1 - mean), 1e-12) / n)
    return bool((np.abs(mean - chance) > half)[30:].any())


def equal_declared_ahead(true: float, rng: np.random.Generator) -> bool:
    """Whether one of two learners within a point is declared ahead with 95 %."""
    behind, _, ahead = families.signed_rank_posterior(rng.normal(true, 1.5, 12), rope=1.0)
    return max(behind, ahead) > CONFIDENCE


def truths() -> dict[tuple[str, int], float]:
    """Of the aggregates, with as many seeds as it takes."""
    rng = np.random.default_rng(0)
    return {
        (name, tasks): float(statistic(scores_of(200_000, tasks, rng)))
        for name, statistic in STATISTICS.items()
        for tasks in TASK_MEANS
    }


def studies() -> list[Study]:
    """All of them."""
    good = (0.93, 0.97)
    rows = [
        Study("one seed, 1.96 standard errors over episodes", "coverage", "normal seeds", 1,
              *good, published_covers, offered=False),
        Study("z-test over episodes of one seed", "false alarms", "normal seeds", 1,
              0, 0.055, episode_z_rejects, offered=False),
    ]  # fmt: skip
    for seeds in (3, 5, 10):
        for world, effects in WORLDS.items():
            if world == "normal seeds":
                rows += [
                    Study("t over seeds", "coverage", world, seeds, *good,
                          partial(t_covers, effects, seeds)),
                    Study("t over seeds, though episodes are shared", "coverage", world, seeds,
                          *good, partial(t_on_shared_covers, effects, seeds), 5, offered=False),
                ]  # fmt: skip
                if seeds >= aggregate.CROSSED_FROM:
                    rows.append(
                        Study("crossed seeds and episodes", "coverage", world, seeds, *good,
                              partial(crossed_covers, effects, seeds), 5)
                    )  # fmt: skip
            rows.append(
                Study("paired comparison", "false alarms", world, seeds, 0, 0.055,
                      partial(paired_rejects, effects, seeds))
            )  # fmt: skip
        rows += [
            Study("Holm over ten probes", "false alarms", "no effect anywhere", seeds, 0, 0.055,
                  partial(holm_errs, seeds)),
            Study("rank sets, all at once", "coverage", "six entrants, gaps of 3 SD", seeds,
                  0.945, 1, partial(ranks_cover, 3.0, seeds), 5),
            Study("rank sets, all at once", "coverage", "six entrants, gaps of 0.5 SD", seeds,
                  0.945, 1, partial(ranks_cover, 0.5, seeds), 10),
        ]  # fmt: skip
    truth = truths()
    for (name, tasks), value in truth.items():
        rows += [
            Study(f"{name}, stratified bootstrap", "coverage", f"{tasks} tasks", seeds, *good,
                  partial(aggregate_covers, name, tasks, seeds, value), 10)
            for seeds in (3, 5, 10)
        ]  # fmt: skip
    chance = float(stats.norm.cdf(0.1 / (TASK_SD * np.sqrt(2))))
    rows += [
        Study("probability of improvement, bootstrap", "coverage", "30 tasks", seeds, *good,
              partial(improvement_covers, seeds, chance), 20)
        for seeds in (3, 5, 10)
    ]  # fmt: skip
    for difference, seeds in ((3.0, 3), (1.5, 6), (1.0, 10), (0.8, 15)):
        predicted = power.power(difference, 1.0, seeds)
        rows.append(
            Study("paired t", f"power (predicted {predicted:.2f})", f"{difference} SD apart",
                  seeds, predicted - 0.01, predicted + 0.01,
                  partial(power_holds, difference, seeds))
        )  # fmt: skip
    rows += [
        Study("Friedman over families", "false alarms", "12 families", None, 0, 0.055,
              partial(friedman_errs, 12, 1)),
        Study("Friedman over families x seeds", "false alarms", "4 families, 10 seeds", 10, 0,
              0.055, partial(friedman_errs, 4, 10), offered=False),
        Study("Wilcoxon and Holm over families", "false alarms", "12 families", None, 0, 0.055,
              partial(wilcoxon_errs, 12), 10),
        Study("betting interval, watched all along", "ever wrong", "accuracy 0.7", None, 0, 0.05,
              partial(betting_misses, 0.7), 20),
        Study("betting interval, watched all along", "ever wrong", "accuracy 0.98", None, 0, 0.05,
              partial(betting_misses, 0.98), 20),
        Study("1.96 standard errors, watched all along", "ever wrong", "accuracy 0.7", None, 0,
              0.05, partial(repeated_z_misses, 0.7), 2, offered=False),
        Study("signed-rank posterior, equal within 1", "false alarms", "12 families, no difference",
              None, 0, 0.05, partial(equal_declared_ahead, 0.0), 200),
    ]  # fmt: skip
    return rows


def run(study: Study, replicates: int) -> Row:
    """The study's rate over ``replicates`` divided by its cost."""
    count = max(replicates // study.cost, 20)
    name = f"{study.procedure} {study.quantity} {study.world} {study.seeds}"
    rng = np.random.default_rng(list(name.encode()))
    hits = sum(study.trial(rng) for _ in range(count))
    bound = stats.binomtest(hits, count).proportion_ci(0.95, method="exact")
    return Row(
        study.procedure,
        study.quantity,
        study.world,
        study.seeds,
        hits / count,
        float(bound.low),
        float(bound.high),
        count,
        study.low,
        study.high,
        study.offered,
    )


def page(rows: list[Row]) -> str:
    """docs/statistics.md, which is its own words around the table of these rows."""
    text = PAGE.read_text()
    before, after = text.split(START)[0], text.split(END)[1]
    lines = [
        "| procedure | world | seeds | quantity | wanted | found | 95 % | replicates |",
        "| --- | --- | ---: | --- | --- | ---: | --- | ---: |",
    ]
    for row in rows:
        name = row.procedure if row.offered else f"*{row.procedure}*"
        found = f"{row.rate:.3f}" if row.kept or not row.offered else f"**{row.rate:.3f}**"
        lines.append(
            f"| {name} | {row.world} | {row.seeds or '—'} | {row.quantity} | {_wanted(row)} "
            f"| {found} | {row.lower:.3f} to {row.upper:.3f} | {row.replicates:,} |"
        )
    return f"{before}{START}\n\n" + "\n".join(lines) + f"\n\n{END}{after}"


def _wanted(row: Row) -> str:
    if row.low == 0:
        return f"at most {row.high}"
    if row.high == 1:
        return f"at least {row.low}"
    return f"{row.low:.2f} to {row.high:.2f}"


def main() -> None:
    """Run all studies and keep what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=20_000)
    replicates = parser.parse_args().replicates
    start, rows = time.perf_counter(), []
    for study in studies():
        row = run(study, replicates)
        rows.append(row)
        mark = "" if row.kept else "  <-- outside" if row.offered else "  (not offered)"
        print(
            f"{row.procedure}, {row.world}, J = {row.seeds}: {row.quantity} {row.rate:.3f} "
            f"[{row.lower:.3f}, {row.upper:.3f}]{mark}",
            flush=True,
        )
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    PAGE.write_text(page(rows))
    print(f"{len(rows)} studies in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
