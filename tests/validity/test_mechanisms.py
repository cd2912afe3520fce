"""Probes outside the matrix flag the fault that they are for, and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metabench.reports.known_groups import listing
from metabench.suite import load_suite
from metabench.tasks.harmonics import Harmonics
from metabench.validity import MECHANISMS, NOTHING, Group, Judgements, judge, matrix


@pytest.mark.parametrize("group", MECHANISMS, ids=lambda g: g.name)
def test_a_mechanism_flags_its_broken_learners_and_no_healthy_one(group: Group) -> None:
    verdicts = judge((*group.healthy, *group.broken), 1_000, load_suite(group.suite))
    found = matrix(Judgements(verdicts, group))
    wanted = found["wanted"]
    designated = {(label, probe) for probe, labels in group.designated.items() for label in labels}
    must = found[wanted.map(lambda w: w is True)]
    assert set(zip(must["label"], must["probe"], strict=True)) == designated
    assert (must["flags"] == 1).all()
    spared = found[wanted.map(lambda w: w is False)]
    assert set(spared["label"]) == set(group.spared)
    assert (spared["flags"] == 0).all()
    assert group.name in listing(found)


def test_without_drift_a_sleeper_is_no_worse_than_the_others() -> None:
    (group,) = [g for g in MECHANISMS if g.name == "drift"]
    verdicts = judge(("narrow-bayes", "sleeper"), 1_001, load_suite(group.suite))
    calm = verdicts[verdicts["probe"] == "drift-early 0"].set_index("label")
    assert not calm.loc["sleeper", "flagged"]
    assert calm.loc["sleeper", "mean"] == pytest.approx(calm.loc["narrow-bayes", "mean"], abs=0.05)


def test_where_nothing_happens_a_rate_is_accepted_unless_it_is_proved_too_high() -> None:
    def rows(flags: int, replicates: int) -> pd.DataFrame:
        names = ["label", "probe", "replicate", "mean", "bound", "flagged"]
        table = [("memorizer", "gap", i, 0.0, 0.0, i < flags) for i in range(replicates)]
        return matrix(Judgements(pd.DataFrame(table, columns=names), NOTHING))

    assert rows(5, 100)["accepted"].item() is True
    assert rows(9, 100)["accepted"].item() is True
    assert rows(11, 100)["accepted"].item() is False


def test_a_learner_that_a_probe_does_not_apply_to_has_no_row_unless_it_must_be_flagged() -> None:
    names = ["label", "probe", "replicate", "mean", "bound", "flagged"]
    table = [
        (label, "turnover", 0, float("nan"), float("nan"), None)
        for label in ("fourier-ridge", "crammer")
    ]
    (group,) = [g for g in MECHANISMS if g.name == "over-optimisation"]
    (row,) = matrix(Judgements(pd.DataFrame(table, columns=names), group)).itertuples()
    assert (row.label, row.flags, row.accepted) == ("crammer", 0, False)


@pytest.mark.parametrize(
    ("width", "tasks", "seeds", "alarms", "found"),
    [
        (0.7, 1, 5, (0.06, 0.12), (0.99, 1.0)),
        (2.0, 2, 10, (0.0, 0.03), (0.95, 1.0)),
        (2.0, 16, 10, (0.0, 0.01), (0.0, 0.05)),
    ],
)
def test_starting_points_hold_a_task_in_so_many_and_few_seen_tasks_are_no_sample(
    width: float, tasks: int, seeds: int, alarms: tuple[float, float], found: tuple[float, float]
) -> None:
    """EI where the start is the law's mean, and where it is the mean of the seen tasks."""
    rng = np.random.default_rng(0)
    scale = np.repeat(Harmonics(width=width).variances(), 2) ** 0.5
    weights = rng.standard_normal((4000, seeds, tasks, len(scale))) * scale
    seen = (weights**2).sum(axis=3).mean(axis=2) / 2
    by_heart = seen - (weights.mean(axis=2) ** 2).sum(axis=2) / 2
    for risk, (low, high) in ((seen, alarms), (by_heart, found)):
        value = (1 - risk) / 0.96
        half = stats.t.ppf(0.95, seeds - 1) * value.std(axis=1, ddof=1) / seeds**0.5
        assert low <= np.mean(value.mean(axis=1) - half > 0.1) <= high
