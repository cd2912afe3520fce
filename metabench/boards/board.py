"""The board: one panel a suite and source, one row a learner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from metabench.estimators import (
    IDENTIFIABLE,
    BreakEven,
    Panel,
    area_under_skill,
    break_even,
    panels,
    skill_table,
    tail_risk,
)
from metabench.estimators.curve import severity_curve
from metabench.records import IN_DISTRIBUTION, ORACLE, Record
from metabench.statistics import Interval, t_interval
from metabench.store import Results


@dataclass(frozen=True)
class Row:
    """One learner of a panel. None stands for what could not be computed, never for zero."""

    label: str
    family: str
    transductive: bool
    provenance: str
    seeds_ok: int
    seeds: int
    problems: tuple[str, ...]
    """"status: error" of the cells that did not finish."""
    metric: Interval | None
    """The raw metric in distribution."""
    skill: Interval | None
    """Skill in distribution."""
    ood_skill: Interval | None
    """Mean skill over the identifiable levels of each condition, then over conditions."""
    worst: tuple[str, float] | None
    """The condition with the least mean skill over its identifiable levels, and that skill."""
    aus: Interval | None
    break_even: tuple[str, BreakEven] | None
    """The condition that breaks even first."""
    cvar: Interval | None
    """CVaR10 of the risk in distribution."""
    tasks: float
    """Mean number of meta-training tasks used."""


@dataclass(frozen=True)
class PanelBoard:
    """A panel with everything computed from it."""

    panel: Panel
    skills: pd.DataFrame
    rows: tuple[Row, ...]
    unidentifiable: tuple[tuple[str, int], ...]
    """(condition, level) where base and oracle are too close to tell learners apart."""

    @property
    def title(self) -> str:
        """Suite, source and preset."""
        p = self.panel
        return f"{p.suite} v{p.protocol.suite_version} / {p.source} ({p.preset} preset)"


@dataclass(frozen=True)
class Board:
    """Every panel of some results."""

    panels: tuple[PanelBoard, ...]


def build_board(results: Results) -> Board:
    """Compute the board; rows are ordered by mean out-of-distribution skill."""
    return Board(tuple(_panel_board(panel) for panel in panels(results)))


def _panel_board(panel: Panel) -> PanelBoard:
    skills = skill_table(panel)
    tails = tail_risk(panel)
    by_label: dict[str, list[Record]] = {}
    for record in panel.records:
        by_label.setdefault(panel.label_of(record), []).append(record)
    rows = [_row(panel, skills, tails, label, records) for label, records in by_label.items()]
    rows.sort(key=lambda r: (r.transductive, -_mean(r.ood_skill), -_mean(r.skill), r.label))
    lost = skills[skills["status"] == "unidentifiable"][["condition", "level"]].drop_duplicates()
    return PanelBoard(
        panel,
        skills,
        tuple(rows),
        tuple((str(c), int(n)) for c, n in lost.sort_values(["condition", "level"]).to_numpy()),
    )


def _mean(interval: Interval | None) -> float:
    return -np.inf if interval is None else interval.mean


def _row(
    panel: Panel, skills: pd.DataFrame, tails: pd.DataFrame, label: str, records: list[Record]
) -> Row:
    own = skills[skills["label"] == label]
    known = own[own["status"] == IDENTIFIABLE]
    start = own[own["condition"] == IN_DISTRIBUTION]
    raw = 1 - start["risk"] if panel.protocol.metric == "accuracy" else start["risk"]
    shifted = known[known["condition"] != IN_DISTRIBUTION]
    by_condition = shifted.groupby(["condition", "seed"])["skill"].mean()
    worst = by_condition.groupby("condition").mean()
    curves = {
        c.name: severity_curve(skills, label, c.name)
        for c in panel.protocol.conditions
        if len(c.values) > 1
    }
    own_tail = tails[(tails["label"] == label) & (tails["condition"] == IN_DISTRIBUTION)]
    first = records[0]
    return Row(
        label=label,
        family=first.learner.family,
        transductive=first.learner.transductive,
        provenance="claimed" if any(r.provenance == "claimed" for r in records) else "verified",
        seeds_ok=sum(r.status == "ok" for r in records),
        seeds=len(records),
        problems=tuple(f"{r.status}: {r.error}" for r in records if r.status != "ok"),
        metric=_interval(raw),
        skill=_interval(known[known["condition"] == IN_DISTRIBUTION]["skill"]),
        ood_skill=_interval(by_condition.groupby("seed").mean()),
        worst=None if worst.empty else (str(worst.idxmin()), float(worst.min())),
        aus=_aus(curves.values()),
        break_even=_first_break_even(curves),
        cvar=_interval(own_tail["cvar"]),
        tasks=float(np.mean([r.used.tasks for r in records])),
    )


def _interval(values: pd.Series) -> Interval | None:
    return None if values.empty else t_interval([float(v) for v in values])


def _aus(curves: Iterable[pd.DataFrame]) -> Interval | None:
    """Mean over conditions of each seed's area; undefined where a condition's is."""
    areas = [area_under_skill(curve) for curve in curves if len(curve) > 1]
    if not areas or any(a is None for a in areas):
        return None
    whole = [a for a in areas if a is not None]
    if len({len(a) for a in whole}) > 1:
        return None
    return t_interval([float(v) for v in np.mean(whole, axis=0)])


def _first_break_even(curves: dict[str, pd.DataFrame]) -> tuple[str, BreakEven] | None:
    found = {name: b for name, c in curves.items() if (b := break_even(c)) is not None}
    if not found:
        return None

    def when(name: str) -> float:
        level = found[name].level
        return np.inf if level is None else level

    first = min(found, key=when)
    return first, found[first]


def is_reference(row: Row) -> bool:
    """Baselines, controls and the oracle: what learners are compared with."""
    return row.family in ("baseline", "control", ORACLE)
