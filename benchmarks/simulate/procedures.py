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
import trials
from scipy import stats

from metabench.statistics import aggregate, power

Trial = Callable[[np.random.Generator], bool]

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
START, END = "<!-- simulated: benchmarks/simulate/procedures.py -->", "<!-- end -->"


SHARED = {"apart": 0.0, "half shared": 0.5, "all shared": 1.0}
"""Of the variance of scores between seeds, what the tasks of a seed have in common."""


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

    @property
    def name(self) -> str:
        """What tells rows apart, and seeds its generator."""
        return f"{self.procedure} {self.quantity} {self.world} {self.seeds}"


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
    def name(self) -> str:
        """What tells rows apart, and seeds its generator."""
        return f"{self.procedure} {self.quantity} {self.world} {self.seeds}"

    @property
    def kept(self) -> bool:
        """Whether the simulation leaves it possible that the rate is where it should be."""
        return self.upper >= self.low and self.lower <= self.high


def truths() -> dict[tuple[str, int], float]:
    """Of the aggregates, with as many seeds as it takes."""
    rng = np.random.default_rng(0)
    return {
        (name, tasks): float(statistic(trials.scores_of(200_000, tasks, 0.0, rng)))
        for name, statistic in trials.STATISTICS.items()
        for tasks in trials.TASK_MEANS
    }


def studies() -> list[Study]:
    """All of them."""
    good = (0.93, 0.97)
    rows = [
        Study("one seed, 1.96 standard errors over episodes", "coverage", "normal seeds", 1,
              *good, trials.published_covers, offered=False),
        Study("z-test over episodes of one seed", "false alarms", "normal seeds", 1,
              0, 0.055, trials.episode_z_rejects, offered=False),
    ]  # fmt: skip
    for seeds in (3, 5, 10):
        for world, effects in trials.WORLDS.items():
            if world == "normal seeds":
                rows += [
                    Study("t over seeds", "coverage", world, seeds, *good,
                          partial(trials.t_covers, effects, seeds)),
                    Study("t over seeds, though episodes are shared", "coverage", world, seeds,
                          *good, partial(trials.t_on_shared_covers, effects, seeds), 5,
                          offered=False),
                ]  # fmt: skip
                if seeds >= aggregate.LEAST_SEEDS:
                    rows.append(
                        Study("crossed seeds and episodes", "coverage", world, seeds, *good,
                              partial(trials.crossed_covers, effects, seeds), 5)
                    )  # fmt: skip
            rows.append(
                Study("paired comparison", "false alarms", world, seeds, 0, 0.055,
                      partial(trials.paired_rejects, effects, seeds))
            )  # fmt: skip
        rows += [
            Study("t over seeds, episodes ended by their interval", "coverage", "accuracy 0.9",
                  seeds, *good, partial(trials.stopped_covers, seeds), 20),
            Study("skill, ratio of means over seeds", "coverage", "skill -2, uneven room", seeds,
                  *good, partial(trials.skill_covers, seeds), 10),
            Study("skill, mean of the seeds' ratios", "coverage", "skill -2, uneven room", seeds,
                  *good, partial(trials.mean_of_ratios_covers, seeds), offered=False),
            Study("Holm over ten probes", "false alarms", "no effect anywhere", seeds, 0, 0.055,
                  partial(trials.holm_errs, seeds)),
            Study("rank sets, all at once", "coverage", "six entrants, gaps of 3 SD", seeds,
                  0.945, 1, partial(trials.ranks_cover, 3.0, seeds), 5),
            Study("rank sets, all at once", "coverage", "six entrants, gaps of 0.5 SD", seeds,
                  0.945, 1, partial(trials.ranks_cover, 0.5, seeds), 10),
        ]  # fmt: skip
    truth = truths()
    for (name, tasks), value in truth.items():
        rows += [
            Study(f"{name}, seeds drawn whole", "coverage", f"{tasks} tasks, {world}", seeds,
                  *good, partial(trials.aggregate_covers, name, tasks, shared, False, seeds, value),
                  5)
            for world, shared in SHARED.items() for seeds in (3, 5, 10)
        ]  # fmt: skip
    rows += [
        Study("IQM, seeds drawn within each task", "coverage", f"30 tasks, {world}", seeds, *good,
              partial(trials.aggregate_covers, "IQM", 30, shared, True, seeds, truth["IQM", 30]),
              10, offered=not shared)
        for world, shared in SHARED.items() for seeds in (3, 5, 10)
    ]  # fmt: skip
    chance = float(stats.norm.cdf(0.1 / (trials.TASK_SD * np.sqrt(2))))
    rows += [
        Study("probability of improvement, bootstrap", "coverage", f"30 tasks, {world}", seeds,
              0.93, 0.97 if shared else 1,
              partial(trials.improvement_covers, shared, seeds, chance), 10)
        for world, shared in SHARED.items() for seeds in (5, 10)
    ]  # fmt: skip
    for difference, seeds in ((3.0, 3), (1.5, 6), (1.0, 10), (0.8, 15)):
        predicted = power.power(difference, 1.0, seeds)
        rows.append(
            Study("paired t", f"power (predicted {predicted:.2f})", f"{difference} SD apart",
                  seeds, predicted - 0.01, predicted + 0.01,
                  partial(trials.power_holds, difference, seeds))
        )  # fmt: skip
    rows += [
        Study("Friedman over families", "false alarms", "12 families", None, 0, 0.055,
              partial(trials.friedman_errs, 12, 1)),
        Study("Friedman over families x seeds", "false alarms", "4 families, 10 seeds", 10, 0,
              0.055, partial(trials.friedman_errs, 4, 10), offered=False),
        Study("Wilcoxon and Holm over families", "false alarms", "12 families", None, 0, 0.055,
              partial(trials.wilcoxon_errs, 12), 10),
        Study("betting interval, watched all along", "ever wrong", "accuracy 0.7", None, 0, 0.05,
              partial(trials.betting_misses, 0.7), 20),
        Study("betting interval, watched all along", "ever wrong", "accuracy 0.98", None, 0, 0.05,
              partial(trials.betting_misses, 0.98), 20),
        Study("1.96 standard errors, watched all along", "ever wrong", "accuracy 0.7", None, 0,
              0.05, partial(trials.repeated_z_misses, 0.7), 2, offered=False),
        Study("signed-rank posterior, equal within 1", "false alarms", "12 families, no difference",
              None, 0, 0.05, partial(trials.equal_declared_ahead, 0.0), 200),
    ]  # fmt: skip
    return rows


def run(study: Study, replicates: int) -> Row:
    """The study's rate over ``replicates`` divided by its cost."""
    count = max(replicates // study.cost, 20)
    rng = np.random.default_rng(list(study.name.encode()))
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
    parser.add_argument("--only", default="", help="a procedure; the other rows stay as they are")
    options = parser.parse_args()
    before = [Row(**row) for row in json.loads(RESULTS.read_text())] if options.only else []
    kept = {row.name: row for row in before if row.procedure != options.only}
    start, rows = time.perf_counter(), []
    for study in studies():
        if study.name in kept:
            rows.append(kept[study.name])
            continue
        row = run(study, options.replicates)
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
