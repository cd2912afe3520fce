"""Conditions by what they are to estimators, and the risks that several of these refer to."""

from __future__ import annotations

import re

import pandas as pd

from metabench.estimators.panel import Panel
from metabench.estimators.skill import IDENTIFIABLE, risk_table, skill_table
from metabench.records import IN_DISTRIBUTION, ORACLE

CELL = ["label", "condition", "level", "seed"]
NO_ADAPTATION = "no-adaptation"


def named(panel: Panel, role: str) -> list[str]:
    """The conditions of that role."""
    return [c.name for c in panel.protocol.conditions if c.role == role]


def risk_at(panel: Panel, *roles: str) -> pd.DataFrame:
    """Mean risk at the conditions of these roles, and of the same label and seed at home.

    Columns: label, condition, level, seed, risk, inside (in distribution; NaN without rows there).
    """
    risk = risk_table(panel)
    home = risk.loc[risk["condition"] == IN_DISTRIBUTION, ["label", "seed", "risk"]]
    names = [name for role in roles for name in named(panel, role)]
    there = risk[risk["condition"].isin(names)]
    both = there.merge(home.rename(columns={"risk": "inside"}), "left", on=["label", "seed"])
    return both[[*CELL, "risk", "inside"]]


def room(panel: Panel) -> pd.DataFrame:
    """What there is to gain in distribution: seed, oracle, gain = R_base - R_oracle.

    The gain is NaN where it is not identifiable, as in ``skill_table``.
    """
    table = skill_table(panel)
    table = table[table["condition"] == IN_DISTRIBUTION].drop_duplicates("seed")
    gain = (table["base_risk"] - table["oracle_risk"]).where(table["status"] == IDENTIFIABLE)
    found = table.assign(oracle=table["oracle_risk"].astype(float), gain=gain.astype(float))
    return found[["seed", "oracle", "gain"]]


def way(panel: Panel) -> int | None:
    """Classes of an episode in distribution; None in regression and where it varies."""
    found = re.match(r"(\d+)-way\b", panel.protocol.episode)
    return int(found[1]) if found and panel.protocol.kind == "classification" else None


def marginal(panel: Panel) -> pd.DataFrame:
    """R_marg, the risk of the best predictor that sees no support: seed, marginal.

    The oracle's at the conditions of role ``no-adaptation``; in classification without an oracle
    that of guessing, 1 - 1 / way, which is right where tasks are mutually exclusive.
    """
    rows = risk_at(panel, NO_ADAPTATION)
    known = rows[rows["label"] == ORACLE].groupby("seed")["risk"].mean()
    if len(known) or (ways := way(panel)) is None:
        return known.rename("marginal").reset_index()
    return panel.scored[["seed"]].drop_duplicates().assign(marginal=1 - 1 / ways)
