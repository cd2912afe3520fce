"""Brittleness: what small changes of the support, the query or the inner loop cost.

The battery are the conditions of role ``brittleness``, each of them at every level. A median hides
an inner loop that fails now and then, so ``risks`` has the mean and the tail beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import CELL, named, risk_at, room
from metabench.estimators.skill import skill_table
from metabench.estimators.tail import cvar
from metabench.records import IN_DISTRIBUTION, ORACLE

ROLE = "brittleness"
LEAST_RISE = 1e-3
"""Rise of the oracle's risk, as a share of R_base - R_oracle, below which it feels nothing."""
LEAST_LOSS = 0.02
"""The same of the per-task baseline's risk, where it stands for the oracle."""
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

    Where the oracle is declared, o is the per-task baseline that is best in distribution: what
    has to be lost is what is lost without meta-learning, on average over seeds, as in one seed
    it is too small to divide by. NaN where o feels nothing: it has no inner loop, and the order of
    a support is all the same to it. What a learner loses there ``loss`` says. To feel something
    its risk has to rise in every seed, and on average by the share ``LEAST_RISE`` of what
    meta-learning can gain; a baseline's by ``LEAST_LOSS``.
    """
    table = risk_at(panel, ROLE).merge(room(panel)[["seed", "gain"]], "left", on="seed")
    bayes = panel.protocol.oracle == "bayes"
    least = LEAST_RISE if bayes else LEAST_LOSS
    oracle = table[table["label"] == (ORACLE if bayes else _baseline(panel))]
    oracle = oracle.assign(rise=oracle["risk"] - oracle["inside"])[[*KEYS, "rise", "gain"]]
    felt = oracle.groupby(["condition", "level"]).agg(
        least=("rise", "min"), rise=("rise", "mean"), gain=("gain", "mean")
    )
    felt = felt[(felt["least"] > 0) & (felt["rise"] >= least * felt["gain"])]
    felt = felt.rename(columns={"rise": "average"})["average"].reset_index()
    oracle = oracle.merge(felt, on=["condition", "level"])
    oracle["rise"] = oracle["rise"] if bayes else oracle["average"]
    table = table.merge(oracle[[*KEYS, "rise"]], "left", on=KEYS)
    return table.assign(value=(table["risk"] - table["inside"]) / table["rise"])[[*CELL, "value"]]


def _baseline(panel: Panel) -> str:
    """The per-task baseline that is best in distribution; empty without one."""
    table = skill_table(panel)
    names = table.loc[table["condition"] == IN_DISTRIBUTION, "base"].dropna()
    return "" if names.empty else str(names.iloc[0])


def loss(panel: Panel) -> pd.DataFrame:
    """(R_f(S + d) - R_f(S)) / (R_base - R_oracle), the last two without the perturbation d.

    It needs no oracle of the perturbation, so it is there for the whole battery.
    """
    table = risk_at(panel, ROLE).merge(room(panel), "left", on="seed")
    return table.assign(value=(table["risk"] - table["inside"]) / table["gain"])[[*CELL, "value"]]


def worst(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The worst entry of the battery for every label and seed, from two halves of the episodes.

    Columns: label, condition (the role), seed, value, found (the condition that is worst in both
    halves together). The entry is picked on one half and scored on the other, the mean over both
    roles of the halves: the largest of many noisy values would be too large. Entries that are NaN
    in one half are left out.
    """
    both = first.merge(second, on=CELL, suffixes=("_a", "_b")).dropna()
    both["sum"] = both["value_a"] + both["value_b"]
    pick = {
        by: both.loc[both.groupby(["label", "seed"])[by].idxmax()].set_index(["label", "seed"])
        for by in ("value_a", "value_b", "sum")
    }
    value = (pick["value_a"]["value_b"] + pick["value_b"]["value_a"]) / 2
    table = pd.DataFrame({"value": value, "found": pick["sum"]["condition"]}).reset_index()
    return table.assign(condition=ROLE)[["label", "condition", "seed", "value", "found"]]


def _worst(panel: Panel, quantity: Callable[[Panel], pd.DataFrame]) -> pd.DataFrame:
    odd = panel.rows["episode"] % 2 == 1
    halves = (replace(panel, rows=panel.rows[half]) for half in (~odd, odd))
    return worst(*map(quantity, halves))


ESTIMATORS.register("brittleness")(
    Estimator(
        "Brittleness (BR)",
        "Rise of the risk under a perturbation, in units of the oracle's rise, or of the per-task "
        "baseline's where there is no oracle: 1 loses what has to be lost. Lower is better.",
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
        "BR at the worst perturbation that the oracle feels, picked on one half of the episodes "
        "and scored on the other. Lower is better.",
        lambda panel: _worst(panel, brittleness),
        digits=1,
    )
)
ESTIMATORS.register("worst-loss")(
    Estimator(
        "Worst loss to a perturbation",
        "Share of what meta-learning can gain that the worst perturbation costs, picked on one "
        "half of the episodes and scored on the other. Lower is better.",
        lambda panel: _worst(panel, loss),
        digits=2,
    )
)
