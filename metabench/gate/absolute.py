"""Limits that a learner must keep by itself, whatever the baseline: pure functions of a panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from metabench.errors import MetabenchError, unknown
from metabench.estimators import (
    ESTIMATORS,
    IDENTIFIABLE,
    Panel,
    break_even,
    levels_of,
    ood_gap,
    probe_table,
    severity_curve,
    skill_table,
)
from metabench.gate.decision import Status
from metabench.gate.pairing import records_of
from metabench.gate.spec import GateSpec, _Where
from metabench.records import IN_DISTRIBUTION, Probe, Protocol
from metabench.statistics import Interval, number, t_interval

LEVEL = 0.95
"""Of every one-sided bound of this file."""
HARM = {0: 0.0, 1: 0.0, 2: 0.0, 5: -0.5}
"""Level -> skill below which meta-learning does harm: a narrow learner at level 2, a catastrophic
one at level 5; at home, and in worlds of one level, the boundary is the per-task baseline too."""


@dataclass(frozen=True)
class Check:
    """One thing that was asked, and the evidence."""

    place: str
    """Suite and source."""
    name: str
    kind: str
    """"difference", "cells", "probe", "skill", "break-even", "gap" or "harm"."""
    status: Status
    evidence: str
    """Value, bounds, threshold and seeds, in words."""
    numbers: dict[str, float | int | str | None] = field(default_factory=dict)


def label_in(panel: Panel, learner: str) -> str:
    """What the panel calls the learner."""
    return panel.label_of(records_of(panel, learner)[0])


def failed_cells(panel: Panel, learner: str) -> list[Check]:
    """One check a panel: a cell that did not finish is never passed over."""
    own = records_of(panel, learner)
    bad = [f"seed {r.key.seed}: {r.status}: {r.error}" for r in own if r.status != "ok"]
    status: Status = "broken" if bad else "pass"
    evidence = "; ".join(bad) or f"all {len(own)} cells finished"
    return [Check(_place(panel), "cells", "cells", status, evidence)]


def probe_checks(panel: Panel, learner: str, only: Probe | None = None) -> list[Check]:
    """What the suite's probes say of it, one check a probe, condition and level."""
    if only is not None:
        protocol = panel.protocol.model_copy(update={"probes": [only]})
        panel = replace(panel, protocol=protocol)
    table = probe_table(panel)
    own = table[table["label"] == label_in(panel, learner)]
    return [_probe(panel, row) for _, row in own.iterrows()]


def _probe(panel: Panel, row: pd.Series) -> Check:
    estimator = ESTIMATORS.get(str(row["probe"]))
    where = f" · {row['condition']}" if row["condition"] else ""
    where += f" {row['level']}" if row["level"] else ""
    side = "above" if row["flag"] == "above" else "below"
    digits = estimator.digits
    flagged, seeds = row["flagged"], int(row["seeds"])
    limit = number(float(row["threshold"]), digits)
    text = f"{estimator.title} {number(float(row['mean']), digits)}, "
    text += f"95 % bound {number(float(row['bound']), digits)}, "
    text += f"flagged {side} {limit}; {seeds} seeds"
    text += f" ({row['reason']}). " if row["reason"] else ". "
    text += estimator.meaning
    status: Status = "regression" if flagged else "pass"
    if flagged is None:
        applies = seeds > 0 or not str(row["reason"]).startswith("not applicable")
        status = "undecided" if applies else "skipped"
        text = f"{row['reason']} ({estimator.title}, flagged {side} {limit}; {seeds} seeds)"
    numbers: dict[str, float | int | str | None] = {
        "mean": _finite(row["mean"]),
        "bound": _finite(row["bound"]),
        "threshold": float(row["threshold"]),
        "flag": side,
        "seeds": seeds,
    }
    return Check(_place(panel), f"{row['probe']}{where}", "probe", status, text, numbers)


def together(checks: Sequence[Check], name: str) -> Check:
    """One check for several of the same probe: the worst status, and what led to it."""
    status = worst([check.status for check in checks])
    said = [c for c in checks if c.status == status]
    texts = [c.evidence if len(checks) == 1 else f"{c.name}: {c.evidence}" for c in said]
    return Check(checks[0].place, name, "probe", status, "\n".join(texts))


def judged_conditions(protocol: Protocol) -> list[str]:
    """In distribution, then every world to do well in."""
    worlds = [c.name for c in protocol.conditions if not c.diagnostic]
    return [IN_DISTRIBUTION, *worlds]


def harm_checks(panel: Panel, learner: str) -> list[Check]:
    """Is meta-learning shown to do harm? One check a condition, in distribution first.

    Skill at level 2 (of a condition with fewer levels, at the last) is held against 0, at level 5
    against -0.5: flagged where the upper bound lies below.
    """
    skills = skill_table(panel)
    own = skills[skills["label"] == label_in(panel, learner)]
    last = {c.name: levels_of(c) for c in panel.protocol.conditions}
    checks = []
    for name in judged_conditions(panel.protocol):
        levels = [0] if name == IN_DISTRIBUTION else [min(2, last[name])]
        if name in last and last[name] >= 5:
            levels.append(5)
        checks.append(_harm(panel, own, name, levels))
    return checks


def _harm(panel: Panel, own: pd.DataFrame, condition: str, levels: Sequence[int]) -> Check:
    statuses: list[Status] = []
    said = []
    for level in levels:
        values, why = _skills(own, condition, level)
        where = f"skill at level {level}" if level else "skill"
        if not values:
            statuses.append("skipped")
            said.append(f"{where}: {why}")
            continue
        bounds = t_interval(values, 2 * LEVEL - 1)
        limit = HARM[level]
        statuses.append(_at_least(bounds, limit, lenient=True))
        said.append(f"{where} {_span(bounds)}; harm is shown below {limit:g}")
    text = "; ".join(said) + ". 0 is the best per-task baseline, 1 the oracle."
    return Check(_place(panel), condition, "harm", worst(statuses), text)


def limits(panels: Sequence[Panel], learner: str, spec: GateSpec) -> list[Check]:
    """Every limit of a [gate] table; raises MetabenchError if one names what was not run."""
    checks = [check for panel in panels for check in failed_cells(panel, learner)]
    sound = [p for p in panels if any(r.status == "ok" for r in records_of(p, learner))]
    if spec.probes == "no-flag":
        checks += [check for panel in sound for check in probe_checks(panel, learner)]
    asked: list[tuple[str, Sequence[_Where], Callable[..., Iterator[Check]]]] = [
        ("skill", spec.skill, _skill_limit),
        ("break_even", spec.break_even, _break_even_limit),
        ("gap", spec.gap, _gap_limit),
    ]
    for table, entries, judge in asked:
        for i, entry in enumerate(entries):
            _named(panels, entry, f"gate.{table}[{i}]")
            found = [
                check
                for panel in sound
                if entry.suite in (None, panel.suite) and entry.source in (None, panel.source)
                for check in judge(panel, learner, entry)
            ]
            if not found and sound:
                raise MetabenchError(f"gate.{table}[{i}]: nothing that was run is meant by it")
            checks += found
    return checks


def _named(panels: Sequence[Panel], entry: _Where, where: str) -> None:
    """Every name is that of something that was run."""
    known = {
        "suite": {p.suite for p in panels},
        "source": {p.source for p in panels},
        "condition": {IN_DISTRIBUTION} | {c.name for p in panels for c in p.protocol.conditions},
    }
    for what, names in known.items():
        given = getattr(entry, what)
        if given is not None and given not in names:
            raise MetabenchError(f"{where}.{what}: {unknown(what, given, names)}")


def _skill_limit(panel: Panel, learner: str, entry: _Where) -> Iterator[Check]:
    level = getattr(entry, "level", None)
    limit = float(getattr(entry, "at_least", 0.0))
    skills = skill_table(panel)
    own = skills[skills["label"] == label_in(panel, learner)]
    for condition, n in _places(own, panel, entry.condition, level):
        values, why = _skills(own, condition, n)
        name = f"skill · {condition}" + (f" {n}" if n else "")
        if not values:
            yield Check(_place(panel), name, "skill", "undecided", why)
            continue
        bounds = t_interval(values, 2 * LEVEL - 1)
        text = f"skill {_span(bounds)}; must be at least {limit:g}"
        yield Check(
            _place(panel), name, "skill", _at_least(bounds, limit), text, _numbers(bounds, limit)
        )


def _break_even_limit(panel: Panel, learner: str, entry: _Where) -> Iterator[Check]:
    limit = float(getattr(entry, "at_least", 0.0))
    skills = skill_table(panel)
    for condition in panel.protocol.conditions:
        wanted = entry.condition in (None, condition.name)
        if condition.diagnostic or levels_of(condition) < 2 or not wanted:
            continue
        name = f"break-even · {condition.name}"
        curve = severity_curve(skills, label_in(panel, learner), condition.name)
        found = break_even(curve)
        if found is None:
            why = "skill is not identifiable in distribution and at one level more"
            yield Check(_place(panel), name, "break-even", "undecided", why)
            continue
        low = np.inf if found.low is None else found.low
        high = np.inf if found.high is None else found.high
        status: Status = "undecided"
        if found.interval and min(low, found.last) >= limit:
            status = "pass"
        elif found.interval and high < limit:
            status = "regression"
        seeds = curve.shape[1]
        text = f"s* {found.text()}, {seeds} seeds; must be at least {limit:g}"
        if not found.interval:
            text += "; one seed has no interval"
        elif limit > found.last:
            text += f"; levels end at {found.last:g}"
        numbers: dict[str, float | int | str | None] = {
            "mean": found.level, "low": found.low, "high": found.high, "limit": limit,
            "seeds": seeds,
        }  # fmt: skip
        yield Check(_place(panel), name, "break-even", status, text, numbers)


def _gap_limit(panel: Panel, learner: str, entry: _Where) -> Iterator[Check]:
    level = getattr(entry, "level", None)
    limit = float(getattr(entry, "at_most", 0.0))
    table = ood_gap(panel)
    own = table[table["label"] == label_in(panel, learner)]
    for condition, n in _places(own, panel, entry.condition, level):
        part = own[(own["condition"] == condition) & (own["level"] == n)]
        bounds = t_interval(part["value"].astype(float).tolist(), 2 * LEVEL - 1)
        text = f"gap {_span(bounds)}; must be at most {limit:g}"
        flipped = Interval(-bounds.mean, _minus(bounds.high), _minus(bounds.low), bounds.seeds)
        yield Check(
            _place(panel), f"gap · {condition} {n}", "gap", _at_least(flipped, -limit), text,
            _numbers(bounds, limit),
        )  # fmt: skip


def _places(
    own: pd.DataFrame, panel: Panel, condition: str | None, level: int | None
) -> list[tuple[str, int]]:
    """(condition, level) of what was run and is meant: worlds to do well in, unless it is named."""
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    meant = [IN_DISTRIBUTION, *worlds] if condition is None else [condition]
    rows = own[own["condition"].isin(meant)]
    if level is not None:
        rows = rows[rows["level"] == level]
    cells = rows[["condition", "level"]].drop_duplicates()
    found = [(str(c), int(n)) for c, n in cells.itertuples(index=False, name=None)]
    return sorted(found, key=lambda cell: (meant.index(cell[0]), cell[1]))


def _skills(own: pd.DataFrame, condition: str, level: int) -> tuple[list[float], str]:
    """One value a seed, or why there are none."""
    rows = own[(own["condition"] == condition) & (own["level"] == level)]
    known = rows[rows["status"] == IDENTIFIABLE]
    if known.empty:
        return [], "not scored" if rows.empty else str(rows["status"].iloc[0])
    return known["skill"].astype(float).tolist(), ""


def _at_least(bounds: Interval, limit: float, lenient: bool = False) -> Status:
    """Shown to hold, shown not to hold, or undecided; lenient: what is not shown to fail holds."""
    if bounds.low is None or bounds.high is None:
        return "undecided"
    if bounds.high < limit:
        return "regression"
    return "pass" if lenient or bounds.low >= limit else "undecided"


def worst(statuses: Sequence[Status]) -> Status:
    """Of several, the one that decides."""
    order: tuple[Status, ...] = ("broken", "regression", "undecided", "pass", "skipped")
    return min(statuses, key=order.index, default="skipped")


def _span(bounds: Interval) -> str:
    if bounds.low is None or bounds.high is None:
        return f"{number(bounds.mean, 3)} (1 seed: no interval, so nothing can be decided)"
    return (
        f"{number(bounds.mean, 3)}, one-sided 95 % bounds {number(bounds.low, 3)} and "
        f"{number(bounds.high, 3)}, {bounds.seeds} seeds"
    )


def _numbers(bounds: Interval, limit: float) -> dict[str, float | int | str | None]:
    return {
        "mean": bounds.mean, "low": bounds.low, "high": bounds.high, "limit": limit,
        "seeds": bounds.seeds,
    }  # fmt: skip


def _finite(value: object) -> float | None:
    given = float(str(value))
    return given if np.isfinite(given) else None


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _place(panel: Panel) -> str:
    return f"{panel.suite}/{panel.source}"
