"""How often does the gate err? Operating characteristics over many fake commits.

    python benchmarks/simulate/gate.py

A candidate and a baseline share their episodes. A seed's mean accuracy has SD 0.6 points, its 600
episodes included; the candidate's true loss is 0 to 3 points. Every fake commit goes through
``metabench.gate.decide``, as real ones do. Results go to ``gate.json`` beside this file, and from
there to docs/ci.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from procedures import Row, Study, run

from metabench.gate import Policy, decide
from metabench.statistics.power import power

Array = NDArray[np.float64]

RESULTS = Path(__file__).parent / "gate.json"
PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
START, END = "<!-- simulated: benchmarks/simulate/gate.py -->", "<!-- end -->"

SEED_SD, EPISODE_SD, EPISODES = 0.006, 0.06, 600
MARGIN = 0.01
SEEDS, LOSSES, ALPHAS, CONDITIONS = (3, 5, 10), (0, 1, 2, 3), (0.05, 0.01), (1, 6)
SHARED = 0.5
"""Share of a seed's variance that all conditions have in common."""
SLACK = 1.1
"""A rate whose interval lies above this times alpha is too high."""


def scores(rng: np.random.Generator, seeds: int, conditions: int, skewed: bool = False) -> Array:
    """Of one learner [conditions, seeds]; an episode's difficulty, which both share, cancels."""
    # The mean of 600 independent residuals is drawn at once.
    residual = EPISODE_SD / np.sqrt(EPISODES)
    trained = np.sqrt(SEED_SD**2 - residual**2)

    def effects(shape: tuple[int, int]) -> Array:
        return 1 - rng.exponential(1.0, shape) if skewed else rng.normal(0, 1, shape)

    common = np.sqrt(SHARED) * effects((1, seeds)) if conditions > 1 else 0.0
    own = effects((conditions, seeds)) * np.sqrt(1 - SHARED if conditions > 1 else 1.0)
    return np.asarray(trained * (common + own) + rng.normal(0, residual, (conditions, seeds)))


def commit(
    policy: Policy,
    seeds: int,
    conditions: int,
    loss: float,
    rng: np.random.Generator,
    *,
    hit: int | None = None,
    skewed: bool = False,
) -> bool:
    """One fake commit: is it blocked (rule block), does it pass (rule merge)?

    ``hit`` is how many conditions lose; None: all.
    """
    baseline, candidate = (scores(rng, seeds, conditions, skewed) for _ in range(2))
    lost = np.zeros((conditions, 1))
    lost[:hit] = loss
    d = candidate - lost - baseline
    status = decide(d.mean(axis=0), list(d), policy).status
    return status == ("regression" if policy.rule == "block" else "pass")


def studies() -> list[Study]:
    """All of them."""
    rows = list(_grid())
    for seeds in SEEDS:
        for alpha in ALPHAS:
            policy = Policy("block", MARGIN, alpha)
            rows.append(
                _study(
                    policy, seeds, 1, 0, "no loss, trainings with a long lower tail", skewed=True
                )
            )
        policy = Policy("block", MARGIN, 0.05)
        rows.append(_study(policy, seeds, 6, 3, "3 points lost in one of six", hit=1))
    for seeds in (8, 20):
        rows.append(_study(Policy("block", MARGIN, 0.05), seeds, 1, 1))
        rows.append(_study(Policy("merge", MARGIN, 0.05), seeds, 1, 0))
    return rows


def _grid() -> Iterator[Study]:
    for conditions in CONDITIONS:
        for alpha in ALPHAS:
            for seeds in SEEDS:
                for loss in LOSSES:
                    yield _study(Policy("block", MARGIN, alpha), seeds, conditions, loss)
                    yield _study(Policy("merge", MARGIN, alpha), seeds, conditions, loss)


def _study(
    policy: Policy,
    seeds: int,
    conditions: int,
    loss: int,
    world: str | None = None,
    hit: int | None = None,
    skewed: bool = False,
) -> Study:
    """Wanted: the capped error at most alpha; otherwise, with one condition, Student's power."""
    block = policy.rule == "block"
    low, high = 0.0, 1.0
    if (block and loss == 0) or (not block and loss >= 100 * policy.margin):
        high = SLACK * policy.alpha
    elif conditions == 1:
        effect = loss / 100 if block else policy.margin
        known = power(effect, SEED_SD * np.sqrt(2), seeds, 2 * policy.alpha)
        low, high = max(known - 0.01, 0.0), min(known + 0.01, 1.0)
    return Study(
        name_of(policy, conditions),
        "blocked" if block else "passes",
        world or world_of(loss),
        seeds,
        low,
        high,
        partial(_trial, policy, seeds, conditions, loss / 100, hit, skewed),
        cost=1 if conditions == 1 else 2,
    )


def _trial(
    policy: Policy,
    seeds: int,
    conditions: int,
    loss: float,
    hit: int | None,
    skewed: bool,
    rng: np.random.Generator,
) -> bool:
    return commit(policy, seeds, conditions, loss, rng, hit=hit, skewed=skewed)


def name_of(policy: Policy, conditions: int) -> str:
    """Of a row."""
    return f"{policy.rule}, alpha {policy.alpha:g}, {conditions} conditions"


def world_of(loss: int) -> str:
    """Of a row, where every condition loses the same."""
    return f"{loss} points lost"


def page(rows: list[Row]) -> str:
    """docs/ci.md, which is its own words around the tables of these rows."""
    text = PAGE.read_text()
    before, after = text.split(START)[0], text.split(END)[1]
    return f"{before}{START}\n\n" + "\n".join(_tables(rows)) + f"\n\n{END}{after}"


def _tables(rows: list[Row]) -> Iterator[str]:
    found = {(r.procedure, r.world, r.seeds): r for r in rows}
    titles = " | ".join("no loss" if n == 0 else f"{n} pp" for n in LOSSES)
    for rule, what in (("block", "blocked"), ("merge", "passes")):
        yield f"| `{rule}`: {what} at a true loss of | alpha | seeds | {titles} |"
        yield "| --- | ---: | ---: |" + " ---: |" * len(LOSSES)
        for conditions in CONDITIONS:
            where = "one condition" if conditions == 1 else f"{conditions} conditions and overall"
            for alpha in ALPHAS:
                name = name_of(
                    Policy("block" if rule == "block" else "merge", MARGIN, alpha), conditions
                )
                for seeds in SEEDS:
                    cells = [_cell(found[name, world_of(n), seeds]) for n in LOSSES]
                    yield f"| {where} | {alpha:g} | {seeds} | {' | '.join(cells)} |"
        yield ""
    others = [r for r in rows if r.world not in {world_of(n) for n in LOSSES}]
    yield "| elsewhere | seeds | blocked | 95 % |"
    yield "| --- | ---: | ---: | ---: |"
    for r in others:
        where = r.procedure.replace(" 1 conditions", " one condition")
        yield (f"| {where}: {r.world} | {r.seeds} | {_cell(r)} | {r.lower:.3f} to {r.upper:.3f} |")


def _cell(row: Row) -> str:
    return f"{row.rate:.3f}" if row.kept else f"**{row.rate:.3f}**"


def main() -> None:
    """Run all studies and keep what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    options = parser.parse_args()
    start, rows = time.perf_counter(), []
    for study in studies():
        row = run(study, options.replicates)
        rows.append(row)
        mark = "" if row.kept else "  <-- outside"
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
