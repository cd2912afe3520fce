"""The tables behind the board, as rows of intervals for the page to lay out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from metabench.boards import PanelBoard
from metabench.estimators import ESTIMATORS, IDENTIFIABLE, levels_of
from metabench.records import IN_DISTRIBUTION, Condition
from metabench.reports.drawing import subtitle, tick_labels
from metabench.statistics import Interval, t_interval


@dataclass(frozen=True)
class Cell:
    """Skill, where it is identifiable, and the raw metric, where there is one."""

    skill: Interval | None
    metric: Interval | None


@dataclass(frozen=True)
class Level:
    """The head of a column."""

    title: str
    base: str
    """The baseline that sets 0 here."""
    status: str
    """ "ok", or why there is no skill."""


@dataclass(frozen=True)
class ConditionTable:
    """Skill and metric of every learner at every level of a condition, level 0 first."""

    name: str
    subtitle: str
    levels: list[Level]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class EstimatorTable:
    """One estimator: learners by conditions and levels."""

    title: str
    meaning: str
    digits: int
    groups: list[tuple[str, list[str]]]
    """(condition, titles of its columns)."""
    rows: list[tuple[str, list[Interval | None]]]


def condition_tables(part: PanelBoard) -> list[ConditionTable]:
    """One table a condition, learners in the board's order."""
    return [_condition_table(part, condition) for condition in part.panel.protocol.conditions]


def _condition_table(part: PanelBoard, condition: Condition) -> ConditionTable:
    at = [(IN_DISTRIBUTION, 0)]
    at += [(condition.name, level + 1) for level in range(levels_of(condition))]
    titles = ["in distribution", *tick_labels(condition)]
    skills = part.skills
    accuracy = part.panel.protocol.metric == "accuracy"
    columns = {p: skills[(skills["condition"] == p[0]) & (skills["level"] == p[1])] for p in at}
    rows = []
    for row in part.rows:
        if not row.seeds_ok:
            continue
        cells = []
        for place in at:
            own = columns[place][columns[place]["label"] == row.label]
            known = own[own["status"] == IDENTIFIABLE]
            metric = 1 - own["risk"] if accuracy else own["risk"]
            cells.append(Cell(_interval(known["skill"]), _interval(metric)))
        rows.append((row.label, cells))
    levels = [_level(title, columns[place]) for title, place in zip(titles, at, strict=True)]
    return ConditionTable(condition.name, subtitle(condition), levels, rows)


def _level(title: str, cells: pd.DataFrame) -> Level:
    bases = [str(b) for b in cells["base"].dropna().unique()]
    statuses = [str(s) for s in cells["status"].unique()]
    return Level(title, ", ".join(bases), statuses[0] if statuses else "no results")


@dataclass(frozen=True)
class Verdict:
    """What a probe says of a learner: mean, one-sided bound, and whether it is flagged."""

    mean: float
    bound: float | None
    flagged: bool | None
    reason: str


@dataclass(frozen=True)
class ProbeTable:
    """The suite's probes by learner; ``columns`` are (title, its threshold in words)."""

    columns: list[tuple[str, str]]
    rows: list[tuple[str, list[Verdict | None]]]


def probe_summary(part: PanelBoard, family: str | None = None) -> ProbeTable | None:
    """Of every probe that applies to some learner, of one family or all; None if there is none."""
    labels = [row.label for row in part.rows if family in (None, row.family)]
    known = part.probes[(part.probes["seeds"] > 0) & part.probes["label"].isin(labels)]
    if known.empty:
        return None
    keys = ["probe", "condition", "level", "flag", "threshold"]
    places = list(known[keys].drop_duplicates().itertuples(index=False, name=None))
    several = known.groupby("probe")["condition"].nunique()
    columns = []
    for probe, condition, level, flag, threshold in places:
        where = f" · {condition}" + (f" {level}" if level else "") if several[probe] > 1 else ""
        columns.append((f"{ESTIMATORS.get(probe).title}{where}", f"{flag} {threshold:g}"))
    rows = []
    for label in labels:
        own = known[known["label"] == label].set_index(keys)
        found = [own.loc[place] if place in own.index else None for place in places]
        if any(f is not None for f in found):
            rows.append((label, [None if f is None else _verdict(f) for f in found]))
    return ProbeTable(columns, rows)


def _verdict(found: pd.Series) -> Verdict:
    bound = float(found["bound"])
    return Verdict(
        float(found["mean"]),
        None if math.isnan(bound) else bound,
        found["flagged"],
        str(found["reason"]),
    )


def estimator_tables(part: PanelBoard) -> list[EstimatorTable]:
    """Every registered estimator but skill, which has tables of its own."""
    names = [name for name in ESTIMATORS if name != "skill"]
    found = [_estimator_table(part, name) for name in names]
    return [table for table in found if table.groups]


def _estimator_table(part: PanelBoard, name: str) -> EstimatorTable:
    estimator = ESTIMATORS.get(name)
    values = estimator.compute(part.panel).dropna(subset=["value"])
    groups: list[tuple[str, list[str]]] = []
    places: list[tuple[str, int | None]] = []
    by_level = "level" in values.columns
    conditions = [(IN_DISTRIBUTION, [0], [""])]
    for c in part.panel.protocol.conditions:
        conditions.append((c.name, list(range(1, levels_of(c) + 1)), tick_labels(c)))
    for condition, levels, titles in conditions:
        if not (values["condition"] == condition).any():
            continue
        groups.append((condition, titles if by_level else [""]))
        places += [(condition, level) for level in levels] if by_level else [(condition, None)]
    rows = []
    for row in part.rows:
        own = values[values["label"] == row.label]
        cells = [_interval(_at(own, *place)) for place in places]
        if any(cell is not None for cell in cells):
            rows.append((row.label, cells))
    return EstimatorTable(estimator.title, estimator.meaning, estimator.digits, groups, rows)


def _at(own: pd.DataFrame, condition: str, level: int | None) -> pd.Series[float]:
    here = own[own["condition"] == condition]
    return here["value"] if level is None else here[here["level"] == level]["value"]


def _interval(values: pd.Series[float]) -> Interval | None:
    numbers = [float(v) for v in values]
    # One seed without end makes the mean endless, and leaves no interval.
    endless = [v for v in numbers if math.isinf(v)]
    return t_interval(endless[:1] or numbers) if numbers else None
