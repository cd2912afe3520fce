"""A network with a known fault is found out, and the same network without it is not."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reproduce"))

from neural_controls import PAIRS, Side

from metabench.statistics import t_interval
from metabench.validity import judge

(PAIR,) = [pair for pair in PAIRS if pair.fault == "an unregularised inner loop"]
BROKEN, HEALTHY = PAIR.sides
SEEDS = 3


def brittleness(side: Side, steps: int) -> list[float]:
    values = []
    for seed in range(SEEDS):
        verdicts = judge((side.learner,), seed, PAIR.suite(side, steps))
        values.append(float(verdicts.loc[verdicts["label"] == side.learner, "mean"].item()))
    return values


def test_a_deep_kernel_that_learned_to_trust_every_target_is_brittle() -> None:
    low = t_interval(brittleness(BROKEN, 1_200), 0.9).low
    assert low is not None
    assert low > PAIR.threshold


def test_a_deep_kernel_that_met_noise_in_meta_training_is_not() -> None:
    assert max(brittleness(HEALTHY, 400)) < PAIR.threshold
