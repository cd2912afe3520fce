"""The board: one panel a suite and source, one row a learner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
import pandas as pd

from metabench.boards.ranking import places
from metabench.estimators import (
    IDENTIFIABLE,
    BreakEven,
    Panel,
    Sensitivity,
    area_under_skill,
    break_even,
    levels_of,
    panels,
    probe_table,
    sensitivities,
    severity_curve,
    skill_table,
    tail_risk,
)
from metabench.records import IN_DISTRIBUTION, ORACLE, Record
from metabench.statistics import Interval, Place, t_interval
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
    """Mean over conditions of the area under skill."""
    aus_reason: str | None
    """Why ``aus`` is not defined."""
    break_even: tuple[str, BreakEven] | None
    """The condition that breaks even first; baselines and the oracle, which set 0 and 1, have
    none."""
    cvar: Interval | None
    """CVaR10 of the risk in distribution."""
    tasks: float
    """Mean number of meta-training tasks used."""
    flags: tuple[str, ...] = ()
    """The estimators whose threshold the learner is beyond, with 95 % confidence."""
    undecided: int = 0
    """Probes that apply to the learner and cannot be decided, as with one seed."""
    place: Place | None = None
    """By out-of-distribution skill, in its track; None for who is no entrant or has a failed
    cell."""

    @property
    def status(self) -> str:
        """ "ok", or how cells of this learner ended that did not finish."""
        return ", ".join(sorted({p.split(":")[0] for p in self.problems})) or "ok"


@dataclass(frozen=True)
class PanelBoard:
    """A panel with everything computed from it."""

    panel: Panel
    skills: pd.DataFrame
    rows: tuple[Row, ...]
    probes: pd.DataFrame
    """What the suite's probes say: the columns of ``probe_table``."""
    unidentifiable: tuple[tuple[str, int], ...]
    """(condition, level) where base and oracle are too close to tell learners apart."""
    ambiguous: bool = False
    """Whether another panel has the same suite, source and preset: the title tells them apart."""

    @property
    def title(self) -> str:
        """Suite, source and preset; whose episodes, and the fingerprint where it takes that."""
        p = self.panel
        name = f"{p.suite} v{p.protocol.suite_version} / {p.source} ({p.preset} preset)"
        if p.salt:
            name += f", private episodes {p.salt[:8]}"
        return f"{name} [{p.fingerprint[:8]}]" if self.ambiguous else name


@dataclass(frozen=True)
class DesignBoard:
    """A suite that varies what is set by hand: its panels, and what they say together."""

    panels: tuple[Panel, ...]
    rows: tuple[Sensitivity, ...]
    diverged: tuple[tuple[str, int, int], ...]
    """(learner, trainings that diverged, trainings in all)."""
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Learner -> "probe (source)" of all that fired."""

    @property
    def title(self) -> str:
        """Suite and preset."""
        p = self.panels[0]
        name = f"{p.suite} v{p.protocol.suite_version}, all settings ({p.preset} preset)"
        return f"{name}, private episodes {p.salt[:8]}" if p.salt else name


@dataclass(frozen=True)
class Board:
    """Every panel of some results."""

    panels: tuple[PanelBoard, ...]
    designs: tuple[DesignBoard, ...] = ()


def build_board(results: Results) -> Board:
    """Compute the board; rows are ordered by mean out-of-distribution skill."""
    found = panels(results.records, results.episodes)
    alike = Counter((p.suite, p.source, p.preset, p.salt) for p in found)
    boards = [_panel_board(p, alike[p.suite, p.source, p.preset, p.salt] > 1) for p in found]
    return Board(tuple(boards), tuple(_design_boards(boards)))


def _design_boards(boards: Iterable[PanelBoard]) -> Iterator[DesignBoard]:
    """One for every suite, preset and fingerprint with settings."""
    groups: dict[tuple[str, ...], list[PanelBoard]] = {}
    for board in boards:
        panel = board.panel
        if panel.settings:
            where = (panel.suite, panel.preset, panel.fingerprint, panel.salt)
            groups.setdefault(where, []).append(board)
    for parts in groups.values():
        ends: dict[str, list[bool]] = {}
        flags: dict[str, tuple[str, ...]] = {}
        for part in parts:
            for record in part.panel.settings:
                label = part.panel.label_of(record)
                ends.setdefault(label, []).append(record.status == "diverged")
            for row in part.rows:
                fired = tuple(f"{flag} ({part.panel.source})" for flag in row.flags)
                flags[row.label] = flags.get(row.label, ()) + fired
        lost = tuple((k, sum(v), len(v)) for k, v in sorted(ends.items()) if any(v))
        found = [part.panel for part in parts]
        if rows := sensitivities(found):
            yield DesignBoard(tuple(found), tuple(rows), lost, flags)


def _panel_board(panel: Panel, ambiguous: bool) -> PanelBoard:
    skills = skill_table(panel)
    tails = tail_risk(panel)
    # Baselines are what learners are held against; a threshold is not meant for them.
    held = {panel.label_of(r) for r in panel.records if r.learner.family == "baseline"}
    probes = probe_table(panel)
    probes = probes[~probes["label"].isin(held)]
    by_label: dict[str, list[Record]] = {}
    for record in panel.records:
        by_label.setdefault(panel.label_of(record), []).append(record)
    ranked = places(panel, skills, by_label)
    rows = [
        replace(
            _flagged(_row(panel, skills, tails, label, records), probes), place=ranked.get(label)
        )
        for label, records in by_label.items()
    ]
    rows.sort(key=lambda r: (r.transductive, -_mean(r.ood_skill), -_mean(r.skill), r.label))
    lost = skills[skills["status"] == "unidentifiable"][["condition", "level"]].drop_duplicates()
    return PanelBoard(
        panel,
        skills,
        tuple(rows),
        probes,
        tuple((str(c), int(n)) for c, n in lost.sort_values(["condition", "level"]).to_numpy()),
        ambiguous,
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
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    shifted = known[known["condition"].isin(worlds)]
    by_condition = shifted.groupby(["condition", "seed"])["skill"].mean()
    worst = by_condition.groupby("condition").mean()
    scales = [c.name for c in panel.protocol.conditions if levels_of(c) > 1 and not c.diagnostic]
    curves = {name: severity_curve(skills, label, name) for name in scales}
    aus, reason = _aus(severity_curve(skills, label, name, "own") for name in scales)
    family = records[0].learner.family
    own_tail = tails[(tails["label"] == label) & (tails["condition"] == IN_DISTRIBUTION)]
    first = records[0]
    return Row(
        label=label,
        family=family,
        transductive=first.learner.transductive,
        provenance="claimed" if any(r.provenance == "claimed" for r in records) else "verified",
        seeds_ok=sum(r.status == "ok" for r in records),
        seeds=len(records),
        problems=tuple(f"{r.status}: {r.error}" for r in records if r.status != "ok"),
        metric=_interval(raw),
        skill=_interval(known[known["condition"] == IN_DISTRIBUTION]["skill"]),
        ood_skill=_interval(by_condition.groupby("seed").mean()),
        worst=None
        if worst.empty or family == ORACLE
        else (str(worst.idxmin()), float(worst.min())),
        aus=aus,
        aus_reason=reason,
        break_even=None if family in ("baseline", ORACLE) else _first_break_even(curves),
        cvar=_interval(own_tail["value"]),
        tasks=float(np.mean([r.used.tasks for r in records])),
    )


def _flagged(row: Row, probes: pd.DataFrame) -> Row:
    """The row with what the probes say of it."""
    own = probes[(probes["label"] == row.label) & (probes["seeds"] > 0)]
    decided = own["flagged"].map(lambda flag: flag is not None)
    fired = own.loc[own["flagged"].map(lambda flag: flag is True), "probe"]
    return replace(row, flags=tuple(sorted(set(fired))), undecided=int((~decided).sum()))


def _interval(values: pd.Series) -> Interval | None:
    return None if values.empty else t_interval([float(v) for v in values])


def _aus(curves: Iterable[pd.DataFrame]) -> tuple[Interval | None, str | None]:
    """Mean over conditions of each seed's area, or why there is none."""
    areas = [area_under_skill(curve) for curve in curves if len(curve) > 1]
    if not areas:
        return None, "no condition has several identifiable levels"
    whole = [area.values for area in areas if area.values is not None]
    if len(whole) < len(areas):
        return None, next(area.reason for area in areas if area.reason)
    # Conditions are averaged over the seeds that all of them have.
    seeds = set.intersection(*(set(values) for values in whole))
    if not seeds:
        return None, "no seed has every condition"
    return t_interval([fmean(values[s] for values in whole) for s in sorted(seeds)]), None


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
