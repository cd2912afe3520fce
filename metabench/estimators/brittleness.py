"""Brittleness: what small changes of the support, the query or the inner loop cost.

The battery are the conditions of role ``brittleness``, each of them at every level. A median hides
an inner loop that fails now and then, so ``risks`` has the mean and the tail beside it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import CELL, named, risk_at, room
from metabench.estimators.tail import cvar
from metabench.records import IN_DISTRIBUTION, ORACLE

ROLE = "brittleness"
LEAST_RISE = 1e-3
"""Rise of the oracle's risk, as a share of R_base - R_oracle, below which it feels nothing."""
KEYS = ["condition", "level", "seed"]


def risks(panel: Panel) -> pd.DataFrame:
    """The risk of an episode in distribution and over the battery, summed up four ways.

    Columns: label, condition, level, seed, mean, median, cvar10, worst.
    """
    names = [IN_DISTRIBUTION, *named(panel, ROLE)]
    rows = panel.scored[panel.scored["condition"].isin(names)]
    grouped = rows.groupby(CELL)["risk"]
    table = grouped.agg(["mean", "median"])
    table["cvar10"] = grouped.agg(lambda risk: cvar(risk.to_numpy(np.float64)))
    table["worst"] = grouped.max()
    return table.reset_index()


def brittleness(panel: Panel) -> pd.DataFrame:
    """BR = (R_f(S + d) - R_f(S)) / (R_o(S + d) - R_o(S)), the oracle unaware of d.

    NaN where the oracle feels nothing: it has no inner loop, and the order of a support is all the
    same to it. What a learner loses there ``loss`` says. To feel something its risk has to rise in
    every seed, and on average by the share ``LEAST_RISE`` of what meta-learning can gain.
    """
    table = risk_at(panel, ROLE).merge(room(panel)[["seed", "gain"]], "left", on="seed")
    oracle = table[table["label"] == ORACLE]
    oracle = oracle.assign(rise=oracle["risk"] - oracle["inside"])[[*KEYS, "rise", "gain"]]
    felt = oracle.groupby(["condition", "level"]).agg(
        least=("rise", "min"), rise=("rise", "mean"), gain=("gain", "mean")
    )
    felt = felt[(felt["least"] > 0) & (felt["rise"] >= LEAST_RISE * felt["gain"])]
    oracle = oracle.merge(felt.reset_index()[["condition", "level"]], on=["condition", "level"])
    table = table.merge(oracle[[*KEYS, "rise"]], "left", on=KEYS)
    return table.assign(value=(table["risk"] - table["inside"]) / table["rise"])[[*CELL, "value"]]


def loss(panel: Panel) -> pd.DataFrame:
    """(R_f(S + d) - R_f(S)) / (R_base - R_oracle), the last two without the perturbation d.

    It needs no oracle of the perturbation, so it is there for the whole battery.
    """
    table = risk_at(panel, ROLE).merge(room(panel), "left", on="seed")
    return table.assign(value=(table["risk"] - table["inside"]) / table["gain"])[[*CELL, "value"]]


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """The worst entry of a battery, one row a label and seed: label, condition, level, seed, value.

    Which entry is the worst for a seed, the mean over the other seeds decides: the largest of many
    noisy values would be too large. Entries that lack a seed of the label are left out. A single
    seed has nothing else to go by than itself.
    """
    rows = []
    for label, part in table.groupby("label"):
        wide = part.pivot_table(index=["condition", "level"], columns="seed", values="value")
        wide = wide.reindex(columns=sorted(part["seed"].unique())).dropna()
        if wide.empty:
            continue
        values = wide.to_numpy(np.float64)
        others = values.sum(axis=1, keepdims=True) - values if values.shape[1] > 1 else values
        for j, (seed, i) in enumerate(zip(wide.columns, others.argmax(axis=0), strict=True)):
            rows.append((label, *wide.index[i], seed, values[i, j]))
    return pd.DataFrame(rows, columns=[*CELL, "value"])


def _over_the_battery(table: pd.DataFrame) -> pd.DataFrame:
    """``worst`` as an estimator's table: one quantity, of no single condition."""
    found = worst(table).drop(columns="level").rename(columns={"condition": "found"})
    return found.assign(condition=ROLE)[["label", "condition", "seed", "value", "found"]]


ESTIMATORS.register("brittleness")(
    Estimator(
        "Brittleness (BR)",
        "Rise of the risk under a perturbation, in units of the oracle's rise: 1 loses what has to "
        "be lost. Lower is better.",
        brittleness,
        digits=1,
    )
)
ESTIMATORS.register("brittleness-loss")(
    Estimator(
        "Loss to a perturbation",
        "Rise of the risk under a perturbation, as a share of what meta-learning can gain: 1 loses "
        "all of it. Lower is better.",
        loss,
        digits=2,
    )
)
ESTIMATORS.register("worst-brittleness")(
    Estimator(
        "Worst brittleness",
        "BR at the worst perturbation that the oracle feels, picked on the other seeds. Lower is "
        "better.",
        lambda panel: _over_the_battery(brittleness(panel)),
        digits=1,
    )
)
ESTIMATORS.register("worst-loss")(
    Estimator(
        "Worst loss to a perturbation",
        "Share of what meta-learning can gain that the worst perturbation costs, picked on the "
        "other seeds. Lower is better.",
        lambda panel: _over_the_battery(loss(panel)),
        digits=2,
    )
)
