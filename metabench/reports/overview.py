"""All suites together: one row a learner, over every task that the records hold.

Where there are private episodes, they count and the public ones do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.boards import Board, PanelBoard, Row
from metabench.boards.ranking import UNRANKED
from metabench.boards.scores import task_scores
from metabench.statistics import (
    Interval,
    Place,
    bootstrap_interval,
    iqm,
    mean_ranks,
    rank_sets,
)

Array = NDArray[np.float64]

LISTED = 2
"""Suites that a reason names; more are counted."""


@dataclass(frozen=True)
class Standing:
    """One learner over all panels."""

    label: str
    rows: tuple[Row | None, ...]
    """Its row in each panel; None where it was not run."""
    worst: tuple[str, Interval] | None
    """Suite and source with the least skill; the interval does not know that it was picked."""
    iqm: Interval | None = None
    mean_rank: Interval | None = None
    """Over tasks in one seed, of the seeds that all entrants have."""
    place: Place | None = None
    reason: str = ""
    """Why it has no aggregate."""

    @property
    def flags(self) -> int:
        """How many probes fired, over all panels."""
        return sum(len(row.flags) for row in self.rows if row is not None)


@dataclass(frozen=True)
class Overview:
    """Tracks with their standings, best first."""

    panels: tuple[PanelBoard, ...]
    tracks: dict[str, list[Standing]]
    pool: dict[str, Array] = field(default_factory=dict)
    """Label -> skill [J, M] of the inductive entrants that have every task in every seed."""
    tasks: int = 0
    note: str = ""
    """Why nothing is aggregated."""

    @property
    def salt(self) -> str:
        """Commitment of the private episodes that count; empty: public ones."""
        return max((part.panel.salt for part in self.panels), default="")


def overview(board: Board, scores: pd.DataFrame | None = None) -> Overview:
    """The learners of a board over all its panels of private episodes, or of public ones.

    Aggregates need records of one preset and release, and one panel a suite and source. ``scores``
    are a leaderboard's, which may cut skill off and leave tasks out; by default ``task_scores``.
    """
    private = tuple(part for part in board.panels if part.panel.salt)
    parts = private or board.panels
    rows: dict[bool, dict[str, list[Row | None]]] = {False: {}, True: {}}
    column = {id(part): i for i, part in enumerate(parts)}
    for part in board.panels:
        for row in part.rows:
            if row.family not in UNRANKED:
                own = rows[row.transductive].setdefault(row.label, [None] * len(parts))
                if id(part) in column:
                    own[column[id(part)]] = row
    note = _note(parts)
    tracks, pools, tasks = {}, {}, 0
    for transductive, found in rows.items():
        if not found:
            continue
        whole: dict[str, pd.DataFrame] = {}
        reasons: dict[str, str] = {}
        if not note:
            known = task_scores(Board(parts)) if scores is None else scores
            whole, reasons, tasks = _complete(parts, known, found)
        name = "transductive" if transductive else "inductive"
        pools[name] = {label: table.to_numpy(np.float64) for label, table in whole.items()}
        tracks[name] = _standings(parts, found, whole, reasons)
    return Overview(parts, tracks, pools.get("inductive", {}), tasks, note)


def _note(parts: Sequence[PanelBoard]) -> str:
    if not any(len(part.skills) for part in parts):
        return "no task has a skill"
    if len({part.panel.preset for part in parts}) > 1:
        return "these records are of several presets"
    if len({part.panel.salt for part in parts}) > 1:
        return "these records are of several releases of private episodes"
    if any(part.ambiguous for part in parts):
        return "these records hold a suite with several fingerprints or data"
    return ""


def _complete(
    parts: Sequence[PanelBoard], scores: pd.DataFrame, found: Mapping[str, Sequence[Row | None]]
) -> tuple[dict[str, pd.DataFrame], dict[str, str], int]:
    """Scores of the learners that have all of them, why the others have not, and how many."""
    whole, reasons = {}, {}
    known = set(scores.index.get_level_values("label"))
    for label, rows in found.items():
        absent = [
            _name(part) + (", private episodes" if part.panel.salt else "")
            for part, row in zip(parts, rows, strict=True)
            if row is None
        ]
        failed = sum(len(row.problems) for row in rows if row is not None)
        if len(absent) > LISTED:
            reasons[label] = f"not run on {len(absent)} of {len(parts)} suites and sources"
        elif absent:
            reasons[label] = f"not run on {', '.join(absent)}"
        elif failed:
            reasons[label] = f"{failed} cells did not finish"
        elif label not in known:
            reasons[label] = "no identifiable skill"
        elif scores.loc[label].isna().to_numpy().any():
            reasons[label] = "a task without skill in some seed"
        else:
            whole[label] = pd.DataFrame(scores.loc[label])
    return whole, reasons, scores.shape[1]


def _standings(
    parts: Sequence[PanelBoard],
    found: Mapping[str, Sequence[Row | None]],
    whole: Mapping[str, pd.DataFrame],
    reasons: Mapping[str, str],
) -> list[Standing]:
    places: dict[str, Place] = {}
    ranks: dict[str, Interval] = {}
    if whole:
        seeds = {
            label: pd.Series(iqm(table.to_numpy(np.float64)[:, None, :]), table.index)
            for label, table in whole.items()
        }
        wide = pd.DataFrame(seeds).T
        places = dict(zip(whole, rank_sets(wide.to_numpy(np.float64)), strict=True))
        shared = wide.columns[wide.notna().all()]
        if len(shared):
            each = np.stack([t.loc[shared].to_numpy(np.float64) for t in whole.values()])
            ranks = dict(zip(whole, mean_ranks(each), strict=True))
    standings = []
    for label, rows in found.items():
        skills = {
            _name(part): skill
            for part, row in zip(parts, rows, strict=True)
            if row is not None and (skill := row.ood_skill or row.skill) is not None
        }
        worst = min(skills, key=lambda name: skills[name].mean) if skills else None
        # Of the name alone: the same records give the same page, whoever else is on it.
        rng = np.random.default_rng(list(label.encode()))
        table = whole.get(label)
        standings.append(
            Standing(
                label,
                tuple(rows),
                None if worst is None else (worst, skills[worst]),
                None if table is None else bootstrap_interval(table.to_numpy(np.float64), iqm, rng),
                ranks.get(label),
                places.get(label),
                reasons.get(label, ""),
            )
        )
    return sorted(
        standings, key=lambda s: (s.iqm is None, 0 if not s.iqm else -s.iqm.mean, s.label)
    )


def _name(part: PanelBoard) -> str:
    return f"{part.panel.suite} / {part.panel.source}"
