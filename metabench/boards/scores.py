"""Skill on every task of a board: what aggregates over suites are made of."""

from __future__ import annotations

import math
from collections.abc import Collection

import pandas as pd

from metabench.boards.board import Board, PanelBoard
from metabench.estimators import IDENTIFIABLE
from metabench.records import IN_DISTRIBUTION

Place = tuple[str, str, str, int]
"""Suite, source, condition, level."""


def places(board: Board) -> frozenset[Place]:
    """Where learners can be told apart."""
    return frozenset(
        (part.panel.suite, part.panel.source, str(row.condition), int(str(row.level)))
        for part in board.panels
        for row in _known(part)[["condition", "level"]].drop_duplicates().itertuples()
    )


def task_scores(
    board: Board, least: float = -math.inf, among: Collection[Place] | None = None
) -> pd.DataFrame:
    """Skill: rows (label, seed), columns (suite, source, condition); the mean over levels.

    Skill is the seed's own: aggregates trim, and trimmed values must not share their noise. Below
    ``least`` at a level it counts as that. ``among`` are the levels that count, by
    default all where learners can be told apart.
    """
    parts = []
    for part in board.panels:
        where = part.panel.suite, part.panel.source
        known = _known(part)
        if among is not None:
            cells = zip(known["condition"], known["level"], strict=True)
            known = known[[(*where, c, int(level)) in among for c, level in cells]]
        known = known.assign(skill=known["own"].clip(lower=least))
        mean = known.groupby(["label", "seed", "condition"], as_index=False)["skill"].mean()
        parts.append(mean.assign(suite=where[0], source=where[1]))
    table = pd.concat(parts, ignore_index=True)
    return table.pivot_table(
        index=["label", "seed"], columns=["suite", "source", "condition"], values="skill"
    )


def _known(part: PanelBoard) -> pd.DataFrame:
    """Identifiable skills in the worlds of a panel."""
    worlds = [c.name for c in part.panel.protocol.conditions if not c.diagnostic]
    skills = part.skills[part.skills["status"] == IDENTIFIABLE]
    return skills[skills["condition"].isin([IN_DISTRIBUTION, *worlds])]
