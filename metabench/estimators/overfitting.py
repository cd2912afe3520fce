"""Meta-overfitting: learners that know tasks by heart where they ought to read the support.

Two kinds: the support is ignored (Yin et al. 2020, Meta-Learning without Memorization), or it only
picks among the tasks of meta-training (Raventos et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import (
    CELL,
    NO_ADAPTATION,
    marginal,
    named,
    risk_at,
    room,
    way,
)
from metabench.records import IN_DISTRIBUTION, ORACLE

OTHER, PERMUTED, SHUFFLED = "other-support", "label-permutation", "shuffled-labels"
EMPTY, SEEN, START_SEEN = "empty-support", "seen-tasks", "no-adaptation-seen"
HALVES = ("half-a", "half-b")
BAYES, DISCRETE, APART = "distance-bayes", "distance-dmmse", "distance-bayes-dmmse"


def support_dependence(panel: Panel) -> pd.DataFrame:
    """SDI = (R_f(S') - R_f(S)) / (R_o(S') - R_o(S)), S' the support of an independent task.

    R_o is the oracle's, who takes S' for the support of the query's task. With a declared oracle,
    R_o(S) is the ceiling's and R_o(S') that of guessing: another task's support says nothing of
    labels. NaN where the oracle's risk rises by less than the floor.
    """
    table = risk_at(panel, OTHER)
    keys = ["condition", "level", "seed"]
    oracle = table.loc[table["label"] == ORACLE, [*keys, "risk", "inside"]]
    rise = oracle.assign(rise=oracle["risk"] - oracle["inside"])[[*keys, "rise"]]
    if panel.protocol.oracle == "declared":
        rise = table[keys].drop_duplicates().merge(room(panel), "left", on="seed")
        rise["rise"] = (1 - 1 / (way(panel) or float("nan"))) - rise["oracle"]
    table = table.merge(rise[[*keys, "rise"]], "left", on=keys)
    enough = table["rise"].where(table["rise"] >= panel.protocol.floor)
    return table.assign(value=(table["risk"] - table["inside"]) / enough)[[*CELL, "value"]]


def permutation_consistency(panel: Panel) -> pd.DataFrame:
    """LPC = (a - 1 / way) / (1 - 1 / way), a the mean agreement of an episode's predictions.

    a is P[pi f(x; S) = f(x; pi S)] for a derangement pi, and 1 / way the agreement of guesses
    (Cohen 1960). 1 follows every renaming of the classes, 0 agrees like guessing; a fixed map,
    which never agrees, has -1 / (way - 1). NaN where the way is not fixed.
    """
    rows = panel.rows
    rows = rows[rows["condition"].isin(named(panel, PERMUTED)) & (rows["metric"] == "agreement")]
    table = rows.groupby(CELL, as_index=False)["value"].mean()
    chance = 1 / (way(panel) or float("nan"))
    return table.assign(value=(table["value"] - chance) / (1 - chance))


def memorization_gap(panel: Panel) -> pd.DataFrame:
    """GAP = (R_new - R_seen) / (R_base - R_oracle), the last two on new tasks."""
    table = risk_at(panel, SEEN).merge(room(panel), "left", on="seed")
    return table.assign(value=(table["inside"] - table["risk"]) / table["gain"])[[*CELL, "value"]]


def d_index(panel: Panel) -> pd.DataFrame:
    """D = (MSE(f, Bayes) - MSE(f, dMMSE)) / MSE(Bayes, dMMSE) on new tasks.

    Bayes is the Bayes predictor of the whole law, dMMSE that of the finite set of meta-training
    tasks: +1 predicts as if there were no other tasks, -1 as if the law were known.
    """
    rows = panel.rows
    rows = rows[
        (rows["condition"] == IN_DISTRIBUTION) & rows["metric"].isin([BAYES, DISCRETE, APART])
    ]
    wide = rows.pivot_table(index=CELL, columns="metric", values="value")
    wide = wide.reindex(columns=[BAYES, DISCRETE, APART])
    value = (wide[BAYES] - wide[DISCRETE]) / wide[APART].where(wide[APART] > 0)
    return value.rename("value").reset_index()


def negative_adaptation(panel: Panel) -> pd.DataFrame:
    """NAR: share of the tasks at which adaptation raises the risk in both halves of the queries.

    Under noise alone a quarter of the tasks would be counted. The condition is the one without
    adaptation; episodes of a NaN are left out.
    """
    rows = panel.rows[panel.rows["metric"].isin(HALVES)]
    risk = rows["value"] * (-1 if panel.protocol.metric == "accuracy" else 1)
    rows = rows.assign(half=risk)[[*CELL, "episode", "metric", "half"]]
    after = rows[rows["condition"] == IN_DISTRIBUTION].drop(columns=["condition", "level"])
    before = rows[rows["condition"].isin(named(panel, NO_ADAPTATION))]
    keys = ["label", "seed", "episode", "metric"]
    both = before.merge(after, on=keys, suffixes=("_before", "_after")).dropna()
    harmed = (both["half_after"] > both["half_before"]).groupby(
        [both[k] for k in [*CELL, "episode"]]
    )
    table = harmed.agg(["all", "size"])
    table = table[table["size"] == len(HALVES)]
    return table["all"].astype(float).groupby(CELL).mean().rename("value").reset_index()


def _of_the_marginal(panel: Panel, *roles: str) -> pd.DataFrame:
    """(R_marg - R) / (R_marg - R_oracle): how far below the best risk without support."""
    table = risk_at(panel, *roles).merge(room(panel), "left", on="seed")
    table = table.merge(marginal(panel), "left", on="seed")
    span = table["marginal"] - table["oracle"]
    value = (table["marginal"] - table["risk"]) / span.where(span >= panel.protocol.floor)
    return table.assign(value=value)[[*CELL, "value"]]


def zero_shot_leak(panel: Panel) -> pd.DataFrame:
    """(R_marg - R) / (R_marg - R_oracle) with an empty support, or with shuffled labels.

    About 0 where tasks are mutually exclusive, unless something leaks; below 0 is a wrong guess
    and no leak. Shuffled targets of a regression still tell their mean and spread, so only
    classification is read there.
    """
    shuffled = [SHUFFLED] if panel.protocol.kind == "classification" else []
    return _of_the_marginal(panel, EMPTY, *shuffled)


def initial_encoding(panel: Panel) -> pd.DataFrame:
    """EI = (R_marg - R_0) / (R_marg - R_oracle), R_0 at zero inner steps on seen tasks."""
    return _of_the_marginal(panel, START_SEEN)


def _register(
    name: str, title: str, meaning: str, compute: Callable[[Panel], pd.DataFrame], digits: int = 2
) -> None:
    ESTIMATORS.register(name)(Estimator(title, meaning, compute, digits))


_register(
    "sdi",
    "Support dependence (SDI)",
    "Rise of the risk when the support is that of another task, as a share of the oracle's rise: "
    "0 ignores the support, 1 uses it as the oracle does. Higher is better up to 1.",
    support_dependence,
)
_register(
    "lpc",
    "Label-permutation consistency (LPC)",
    "How often predictions follow a renaming of the classes, beyond chance: 1 always does, 0 "
    "is guessing. Higher is better.",
    permutation_consistency,
)
_register(
    "gap",
    "Memorization gap (GAP)",
    "Risk on new tasks less risk on tasks of meta-training, as a share of what meta-learning can "
    "gain: 0 knows no task by heart. Lower is better.",
    memorization_gap,
)
_register(
    "d-index",
    "Memorizer or learner (D-index)",
    "+1 predicts like the Bayes predictor of the meta-training tasks, -1 like that of all tasks. "
    "Lower is better.",
    d_index,
)
_register(
    "nar",
    "Negative adaptation rate (NAR)",
    "Share of the tasks at which adaptation raises the risk, confirmed on a second half of the "
    "queries. Lower is better.",
    negative_adaptation,
)
_register(
    "zero-shot-leak",
    "Zero-shot leak",
    "Risk below the best that is possible without support, as a share of what the support is "
    "worth: above 0 something leaks where tasks are mutually exclusive. Lower is better.",
    zero_shot_leak,
)
_register(
    "ei",
    "Tasks in the initialisation (EI)",
    "Risk on seen tasks before adaptation, below the best that is possible without support, as a "
    "share of what the support is worth: above 0 the initialisation holds tasks. Lower is better.",
    initial_encoding,
)
