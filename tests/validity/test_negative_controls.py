"""Where nothing happened, a probe flags no more often than its rule allows: one in twenty.

Every learner of a panel is a replicate, with seeds of its own and the probe's own null: a shift to
the same law, fresh tasks in place of seen ones, a proxy that has nothing to do with the gold, a
world that stands still, and a baseline held against itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from metabench.estimators import Panel, probe_table
from metabench.records import IN_DISTRIBUTION, ORACLE, Condition, Probe
from tests.estimators.tables import panel_of, role, rows
from tests.factories import BASE

Array = NDArray[np.float64]
RUNS, SEEDS, EPISODES = 400, 5, 12
MOST = 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5
"""Three standard errors above the level of the rule."""
LEARNERS = [f"f{i // SEEDS}" for i in range(RUNS * SEEDS)]
NUMBERS = list(range(RUNS * SEEDS))


def risks(rng: np.random.Generator, mean: float | Array = 0.5) -> Array:
    """[RUNS * SEEDS, EPISODES]: skewed, as squared errors are; each seed has its own mean."""
    own = np.exp(0.2 * rng.normal(size=(RUNS * SEEDS, 1)))
    return np.asarray(mean * own * rng.gamma(1.0, size=(RUNS * SEEDS, EPISODES)))


def frame(
    condition: str, values: Array, label: str | None = None, level: int | None = None
) -> pd.DataFrame:
    """Rows of every replicate, or of one learner in all their seeds."""
    return rows(label or LEARNERS, condition, values, seed=NUMBERS, level=level)


def false_alarms(panel: Panel) -> float:
    """The share of replicates that the panel's only probe flags."""
    table = probe_table(panel)
    table = table[table["label"].str.startswith("f") & table["mean"].notna()]
    assert len(table) == RUNS
    return float((table["flagged"] == True).mean())  # noqa: E712


def around(rng: np.random.Generator) -> list[pd.DataFrame]:
    """A baseline at 1 and the oracle at 0.1."""
    return [
        frame(IN_DISTRIBUTION, risks(rng, 1.0), BASE.name),
        frame(IN_DISTRIBUTION, risks(rng, 0.1), ORACLE),
    ]


@pytest.mark.parametrize(
    ("probe", "low"),
    [
        (Probe(estimator="ood-gap", threshold=0.0, flag="above"), 0.02),
        (Probe(estimator="public-gap", threshold=0.02, flag="above"), 0.0),
        (Probe(estimator="gap", threshold=0.0, flag="above"), 0.02),
        (Probe(estimator="gap", threshold=0.25, flag="above"), 0.0),
    ],
)
def test_new_episodes_of_the_same_law_are_neither_a_shift_nor_private_nor_unseen(
    probe: Probe, low: float
) -> None:
    """At a threshold of 0 the null is exact, and the rule must also use up its level."""
    rng = np.random.default_rng(0)
    own = np.exp(0.2 * rng.normal(size=(RUNS * SEEDS, 1)))
    here, there = (0.5 * own * rng.gamma(1.0, size=(RUNS * SEEDS, EPISODES)) for _ in range(2))
    again = role({"gap": "seen-tasks"}.get(probe.estimator, "private"))
    panel = panel_of(
        *around(rng),
        frame(IN_DISTRIBUTION, here),
        frame(again.name, there),
        conditions=[again],
        probes=[probe],
    )
    assert low <= false_alarms(panel) <= MOST


def test_a_learner_as_good_as_the_baseline_is_not_called_harmful() -> None:
    """Skill 0 on other episodes of the same law: at the threshold of the narrow probe."""
    rng = np.random.default_rng(1)
    again = role("episodes", 1.0)
    level = {"level": 1}
    panel = panel_of(
        *around(rng),
        frame(again.name, risks(rng, 1.0), BASE.name, **level),
        frame(again.name, risks(rng, 0.1), ORACLE, **level),
        frame(IN_DISTRIBUTION, risks(rng, 1.0)),
        frame(again.name, risks(rng, 1.0), **level),
        conditions=[again],
        probes=[Probe(estimator="skill", condition=again.name, threshold=0.0, flag="below")],
    )
    assert 0.01 <= false_alarms(panel) <= MOST


def test_a_proxy_that_walks_at_random_is_not_over_optimised() -> None:
    rng = np.random.default_rng(2)
    seen, checkpoints = role("seen-tasks"), 8
    gold, proxy = (
        1 + np.cumsum(0.1 * rng.normal(size=(checkpoints, RUNS * SEEDS, 1)), axis=0)
        for _ in range(2)
    )
    noise = 0.05 * rng.normal(size=(checkpoints, RUNS * SEEDS, EPISODES))
    history = pd.concat(
        [
            frame(name, values[t] + noise[t]).assign(checkpoint=t)
            for t in range(checkpoints)
            for name, values in ((IN_DISTRIBUTION, gold), (seen.name, proxy))
        ],
        ignore_index=True,
    )
    panel = panel_of(
        frame(IN_DISTRIBUTION, gold[-1] + noise[-1]),
        conditions=[seen],
        probes=[Probe(estimator="turnover", threshold=0.1, flag="above")],
    )
    assert false_alarms(replace(panel, history=history)) <= MOST


def test_in_a_world_that_stands_still_nobody_is_slow() -> None:
    """h = 0: a learner as good as the prior, at the threshold, among streams that never switch."""
    rng = np.random.default_rng(3)
    still = Condition(name="still", title="", role="hazard", values=[0.0])
    static = risks(rng, 1.0)
    streams = rows(ORACLE, still.name, static, seed=NUMBERS, metric="static")
    panel = panel_of(
        streams,
        frame(still.name, 0.1 * static, ORACLE),
        frame(still.name, static * np.exp(0.1 * rng.normal(size=static.shape) - 0.005)),
        rows(LEARNERS, still.name, np.full(static.shape, 10.0), seed=NUMBERS, metric="interval"),
        conditions=[still],
        probes=[Probe(estimator="drift-early", threshold=0.0, flag="below")],
    )
    assert 0.02 <= false_alarms(panel) <= MOST


def test_a_second_copy_of_the_baseline_saves_no_examples_and_is_not_called_worse() -> None:
    """DER of the baseline itself is 1 exactly; of one with noise of its own it is 1 on average."""
    rng = np.random.default_rng(4)
    shots = np.array([1.0, 2, 4, 8, 16, 32])
    condition = role("shot", *shots)
    curve = 1 / (1 + shots)

    def copy(label: str | None) -> list[pd.DataFrame]:
        noise = 0.05 * rng.normal(size=(len(curve), RUNS * SEEDS, EPISODES))
        levels = enumerate(zip(curve, noise, strict=True), start=1)
        return [frame(condition.name, c * (1 + n), label, i) for i, (c, n) in levels]

    base = [
        *around(rng),
        *copy(BASE.name),
        *(frame(condition.name, np.full((RUNS * SEEDS, 1), 0.01), ORACLE, i + 1) for i in range(6)),
    ]
    probe = Probe(estimator="der", condition=condition.name, level=4, threshold=1.0, flag="below")
    panel = panel_of(*base, *copy(None), conditions=[condition], probes=[probe])
    assert 0.02 <= false_alarms(panel) <= MOST
    table = probe_table(panel).set_index("label")
    assert table.loc[BASE.name, "mean"] == pytest.approx(1.0, abs=1e-12)
