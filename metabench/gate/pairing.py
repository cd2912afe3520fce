"""Candidate and baseline, paired on the episodes and seeds that both were scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.estimators import IDENTIFIABLE, Panel, skill_table
from metabench.gate.choosing import Unit, records_of
from metabench.records import IN_DISTRIBUTION, Record

Array = NDArray[np.float64]
CELL = ["condition", "level"]


@dataclass(frozen=True)
class Family:
    """One condition of a suite's source, its levels averaged: scores [J] of both, in the unit."""

    suite: str
    source: str
    condition: str
    seeds: tuple[int, ...]
    baseline: Array
    candidate: Array
    differences: Array
    bounded: Array
    """The same with skill cut to [-1, 1] at each level, as the overall difference has it."""
    identical: bool
    """Whether every shared episode has the same score, to the bit."""
    episodes: int
    """Shared by both, over all levels and seeds."""

    @property
    def place(self) -> str:
        """Suite and source."""
        return f"{self.suite}/{self.source}"


@dataclass(frozen=True)
class Pairing:
    """Every family that can be compared, and what stands in the way of others."""

    learner: str
    against: str
    unit: Unit
    families: tuple[Family, ...]
    problems: tuple[str, ...]
    """Each makes the comparison broken: nothing may pass that was not compared."""
    notes: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether nothing at all differs."""
        return bool(self.families) and all(f.identical for f in self.families)

    def overall(self) -> Array:
        """Mean difference over families of each seed that all of them have."""
        if len(self.families) == 1:
            return self.families[0].differences
        seeds = set.intersection(*(set(f.seeds) for f in self.families))
        parts = [[f.bounded[f.seeds.index(s)] for f in self.families] for s in sorted(seeds)]
        return np.asarray(parts, dtype=np.float64).reshape(len(seeds), -1).mean(axis=1)


def pair(
    candidate: Sequence[Panel],
    baseline: Sequence[Panel],
    learner: str,
    against: str,
    unit: Unit,
) -> Pairing:
    """Pair ``learner`` of the candidate with ``against`` of the baseline, panel by panel."""
    families: list[Family] = []
    problems: list[str] = []
    notes: list[str] = []
    mine = [p for p in candidate if records_of(p, learner)]
    theirs = [p for p in baseline if records_of(p, against)]
    for panel in mine:
        twin, reason = _twin(panel, theirs)
        if twin is None:
            problems.append(f"{_place(panel)}: {reason}")
            continue
        own, other = records_of(panel, learner), records_of(twin, against)
        reasons = _unfit(own, other)
        if reasons:
            problems += [f"{_place(panel)}: {reason}" for reason in reasons]
            continue
        notes += [f"{_place(panel)}: {note}" for note in _remarks(own, other)]
        found, missing, left_out = _families(panel, own, twin, other, unit)
        families += found
        problems += [f"{_place(panel)}: {reason}" for reason in missing]
        if left_out:
            notes.append(f"{_place(panel)}: no skill is defined under {', '.join(left_out)}")
    scored = {(p.suite, p.source) for p in mine}
    problems += [
        f"{_place(p)}: the baseline was scored on it, the candidate was not"
        for p in theirs
        if (p.suite, p.source) not in scored
    ]
    return Pairing(learner, against, unit, tuple(families), tuple(problems), tuple(notes))


def _place(panel: Panel) -> str:
    return f"{panel.suite}/{panel.source}"


def _identity(panel: Panel) -> dict[str, object]:
    """What must agree for episodes to be the same."""
    key = panel.records[0].key
    data = ", ".join(f"{k} {v[:8]}" for k, v in sorted(key.data.items()))
    return {
        "preset": key.preset,
        "fingerprint": key.fingerprint,
        "data": data or "none",
        "protocol": key.protocol,
        "salt": getattr(key, "salt", "")[:8] or "none",
    }


def _twin(panel: Panel, others: Sequence[Panel]) -> tuple[Panel | None, str]:
    """The panel with the same episodes, or why there is none."""
    same = [p for p in others if (p.suite, p.source) == (panel.suite, panel.source)]
    if not same:
        return None, "the baseline has no results of it"
    own = _identity(panel)
    for other in same:
        if _identity(other) == own:
            return other, ""
    theirs = _identity(same[0])
    differing = [f"{k} {theirs[k]} there, {own[k]} here" for k in own if own[k] != theirs[k]]
    return None, f"not the same episodes as the baseline: {'; '.join(differing)}"


def _unfit(own: Sequence[Record], other: Sequence[Record]) -> list[str]:
    """Why cells cannot be paired: those that failed, seeds that were left out."""
    reasons = [f"seed {r.key.seed}: {r.status}: {r.error}" for r in own if r.status != "ok"]
    if reasons:
        return reasons
    mine, theirs = _seeds(own), _seeds(other)
    if not theirs:
        return ["every cell of the baseline failed"]
    # The harness runs seeds 0, 1, ...: a hole among them was chosen.
    holes = sorted(s for s in theirs if s < max(mine) and s not in mine)
    if holes:
        return [f"the candidate lacks seeds {', '.join(map(str, holes))}, which the baseline has"]
    if not mine & theirs:
        return ["no seed is shared"]
    return []


def _seeds(records: Sequence[Record]) -> set[int]:
    return {r.key.seed for r in records if r.status == "ok"}


def _remarks(own: Sequence[Record], other: Sequence[Record]) -> list[str]:
    mine, theirs = _seeds(own), _seeds(other)
    remarks = []
    if mine != theirs:
        remarks.append(f"paired on {len(mine & theirs)} seeds, which both have")
    by_id = {r.id: r for r in other}
    moved = [r for r in own if r.id in by_id and r.rows_sha256 != by_id[r.id].rows_sha256]
    if moved:
        here, there = moved[0].environment, by_id[moved[0].id].environment
        differing = [
            f"{name} {getattr(there, name)} there, {getattr(here, name)} here"
            for name in ("metabench", "torch", "numpy", "python", "platform", "device")
            if getattr(here, name) != getattr(there, name)
        ]
        why = (
            "; ".join(differing) or "code outside the learner's file changed, or chance is at work"
        )
        remarks.append(f"the learner's file is the same and its numbers are not: {why}")
    return remarks


def _families(
    panel: Panel, own: Sequence[Record], twin: Panel, other: Sequence[Record], unit: Unit
) -> tuple[list[Family], list[str], list[str]]:
    """Families, what is broken, and conditions without skill."""
    seeds = _seeds(own) & _seeds(other)
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    asked = [IN_DISTRIBUTION, *worlds]
    left = _rows(panel, own, seeds, asked).rename(columns={"risk": "candidate"})
    right = _rows(twin, other, seeds, asked).rename(columns={"risk": "baseline"})
    missing = _absent(left, right)
    rows = left.merge(right, on=[*CELL, "seed", "episode"])
    if rows.empty:
        return [], [*missing, "no episode is shared"], []
    if not np.isfinite(rows[["candidate", "baseline"]].to_numpy(np.float64)).all():
        bad = rows[~np.isfinite(rows[["candidate", "baseline"]]).all(axis=1)].iloc[0]
        where = f"{bad['condition']}, level {bad['level']}, seed {bad['seed']}"
        return [], [*missing, f"a score is not a finite number ({where})"], []
    rows["difference"] = rows["baseline"] - rows["candidate"]
    cells = rows.groupby([*CELL, "seed"], as_index=False).agg(
        candidate=("candidate", "mean"),
        baseline=("baseline", "mean"),
        difference=("difference", "mean"),
        same=("difference", lambda d: bool((d == 0).all())),
        episodes=("difference", "size"),
    )
    compared = set(cells["condition"])
    cells = _scored(cells, twin, unit)
    known = set(cells["condition"])
    found = [
        _family(panel, name, cells[cells["condition"] == name]) for name in asked if name in known
    ]
    return found, missing, sorted(compared - known)


def _rows(
    panel: Panel, records: Sequence[Record], seeds: set[int], conditions: Sequence[str]
) -> pd.DataFrame:
    rows = panel.rows
    kept = (
        (rows["metric"] == panel.protocol.metric)
        & rows["record"].isin([r.id for r in records])
        & rows["seed"].isin(seeds)
        & rows["condition"].isin(conditions)
    )
    return rows.loc[kept, [*CELL, "seed", "episode", "risk"]]


def _absent(left: pd.DataFrame, right: pd.DataFrame) -> list[str]:
    """(condition, level, seed) that the baseline has and the candidate lacks."""
    keys = [*CELL, "seed"]
    mine = set(left[keys].drop_duplicates().itertuples(index=False, name=None))
    theirs = set(right[keys].drop_duplicates().itertuples(index=False, name=None))
    lost = sorted({(c, n) for c, n, _ in theirs - mine})
    return [f"the candidate was not scored under {c}, level {n}" for c, n in lost]


def _scored(cells: pd.DataFrame, ruler: Panel, unit: Unit) -> pd.DataFrame:
    """Risks into the unit; skill is measured by the baseline run's ruler, the same for both."""
    if unit == "accuracy":
        scores = {name: 1 - cells[name] for name in ("candidate", "baseline")}
        return cells.assign(bounded=cells["difference"], **scores)
    table = skill_table(ruler).drop_duplicates([*CELL, "seed"])
    table = table[table["status"] == IDENTIFIABLE]
    cells = cells.merge(table[[*CELL, "seed", "base_risk", "oracle_risk"]], on=[*CELL, "seed"])
    room = cells["base_risk"] - cells["oracle_risk"]
    skills = {name: (cells["base_risk"] - cells[name]) / room for name in ("candidate", "baseline")}
    bounded = skills["candidate"].clip(-1, 1) - skills["baseline"].clip(-1, 1)
    return cells.assign(difference=cells["difference"] / room, bounded=bounded, **skills)


def _family(panel: Panel, condition: str, cells: pd.DataFrame) -> Family:
    # Only seeds with every level: a mean over others would compare unlike things.
    levels = cells.groupby("seed")["level"].nunique()
    whole = [int(s) for s in levels.index[levels == levels.max()]]
    cells = cells[cells["seed"].isin(whole)]
    mean = cells.groupby("seed")[["candidate", "baseline", "difference", "bounded"]].mean()

    def numbers(name: str) -> Array:
        return mean[name].to_numpy(np.float64)

    return Family(
        suite=panel.suite,
        source=panel.source,
        condition=condition,
        seeds=tuple(int(s) for s in mean.index),
        identical=bool(cells["same"].all()),
        episodes=int(cells["episodes"].sum()),
        candidate=numbers("candidate"),
        baseline=numbers("baseline"),
        differences=numbers("difference"),
        bounded=numbers("bounded"),
    )
