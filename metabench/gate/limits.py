"""Limits of a [gate] table: what must be shown of a learner, whatever the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from metabench.errors import MetabenchError, unknown
from metabench.estimators import Panel, break_even, levels_of, ood_gap, severity_curve, skill_table
from metabench.gate.checks import (
    LEVEL,
    Check,
    Numbers,
    held,
    label_in,
    numbers_of,
    place_of,
    skills_of,
    span,
)
from metabench.gate.choosing import records_of
from metabench.gate.decision import Status
from metabench.gate.probes import failed_cells, probe_checks
from metabench.gate.spec import BreakEvenLevel, Gap, GateSpec, Skill
from metabench.records import IN_DISTRIBUTION
from metabench.statistics import t_interval

Limit = Skill | BreakEvenLevel | Gap


def limits(panels: Sequence[Panel], learner: str, spec: GateSpec) -> list[Check]:
    """Every limit of a [gate] table; raises MetabenchError if one names what was not run."""
    checks = [check for panel in panels for check in failed_cells(panel, learner)]
    sound = [p for p in panels if any(r.status == "ok" for r in records_of(p, learner))]
    if spec.probes == "no-flag":
        checks += [check for panel in sound for check in probe_checks(panel, learner)]
    for table in ("skill", "break_even", "gap"):
        for i, entry in enumerate(getattr(spec, table)):
            where = f"gate.{table}[{i}]"
            _named(panels, entry, where)
            found = [
                check
                for panel in sound
                if entry.suite in (None, panel.suite) and entry.source in (None, panel.source)
                for check in _judged(panel, learner, entry)
            ]
            if not found and sound:
                raise MetabenchError(f"{where}: nothing that was run is meant by it")
            checks += found
    return checks


def _judged(panel: Panel, learner: str, entry: Limit) -> Iterator[Check]:
    if isinstance(entry, Skill):
        return _skill(panel, learner, entry)
    if isinstance(entry, BreakEvenLevel):
        return _break_even(panel, learner, entry)
    return _gap(panel, learner, entry)


def _named(panels: Sequence[Panel], entry: Limit, where: str) -> None:
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


def _skill(panel: Panel, learner: str, entry: Skill) -> Iterator[Check]:
    limit = entry.at_least
    skills = skill_table(panel)
    own = skills[skills["label"] == label_in(panel, learner)]
    for condition, n in _places(own, panel, entry.condition, entry.level):
        values, why = skills_of(own, condition, n)
        name = f"skill · {condition}" + (f" {n}" if n else "")
        if not values:
            yield Check(place_of(panel), name, "skill", "undecided", why)
            continue
        bounds = t_interval(values, 2 * LEVEL - 1)
        text = f"skill {span(bounds)}; must be at least {limit:g}"
        yield Check(
            place_of(panel), name, "skill", held(bounds, limit), text, numbers_of(bounds, limit)
        )


def _break_even(panel: Panel, learner: str, entry: BreakEvenLevel) -> Iterator[Check]:
    limit = entry.at_least
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
            yield Check(place_of(panel), name, "break-even", "undecided", why)
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
        ends = {"mean": found.level, "low": found.low, "high": found.high}
        numbers: Numbers = {**ends, "limit": limit, "seeds": seeds}
        yield Check(place_of(panel), name, "break-even", status, text, numbers)


def _gap(panel: Panel, learner: str, entry: Gap) -> Iterator[Check]:
    limit = entry.at_most
    table = ood_gap(panel)
    own = table[table["label"] == label_in(panel, learner)]
    for condition, n in _places(own, panel, entry.condition, entry.level):
        part = own[(own["condition"] == condition) & (own["level"] == n)]
        bounds = t_interval(part["value"].astype(float).tolist(), 2 * LEVEL - 1)
        text = f"gap {span(bounds)}; must be at most {limit:g}"
        less = t_interval((-part["value"].astype(float)).tolist(), 2 * LEVEL - 1)
        status, name = held(less, -limit), f"gap · {condition} {n}"
        yield Check(place_of(panel), name, "gap", status, text, numbers_of(bounds, limit))


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
