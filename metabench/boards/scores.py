"""Skill on every task of a board: what aggregates over suites are made of."""

from __future__ import annotations

import pandas as pd

from metabench.boards.board import Board
from metabench.estimators import IDENTIFIABLE
from metabench.records import IN_DISTRIBUTION


def task_scores(board: Board) -> pd.DataFrame:
    """Skill: rows (label, seed), columns (suite, source, condition); the mean over levels."""
    parts = []
    for part in board.panels:
        panel = part.panel
        worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
        known = part.skills[part.skills["status"] == IDENTIFIABLE]
        known = known[known["condition"].isin([IN_DISTRIBUTION, *worlds])]
        mean = known.groupby(["label", "seed", "condition"], as_index=False)["skill"].mean()
        parts.append(mean.assign(suite=panel.suite, source=panel.source))
    table = pd.concat(parts, ignore_index=True)
    return table.pivot_table(
        index=["label", "seed"], columns=["suite", "source", "condition"], values="skill"
    )
