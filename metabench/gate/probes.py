"""Probes, failed cells and harm: what a learner is flagged for, whatever the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from metabench.estimators import ESTIMATORS, Panel, levels_of, probe_table, skill_table
from metabench.gate.checks import (
    LEVEL,
    Check,
    Numbers,
    finite,
    held,
    label_in,
    place_of,
    skills_of,
    span,
    worst,
)
from metabench.gate.choosing import records_of
from metabench.gate.decision import Status
from metabench.records import IN_DISTRIBUTION, Probe, Protocol
from metabench.statistics import number, t_interval

HARM = {0: 0.0, 1: 0.0, 2: 0.0, 5: -0.5}
"""Level -> skill below which meta-learning does harm: a narrow learner at level 2, a catastrophic
one at level 5; at home, and in worlds of one level, the boundary is the per-task baseline too."""


def failed_cells(panel: Panel, learner: str) -> list[Check]:
    """One check a panel: a cell that did not finish is never passed over."""
    own = records_of(panel, learner)
    bad = [f"seed {r.key.seed}: {r.status}: {r.error}" for r in own if r.status != "ok"]
    status: Status = "broken" if bad else "pass"
    evidence = "; ".join(bad) or f"all {len(own)} cells finished"
    return [Check(place_of(panel), "cells", "cells", status, evidence)]


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
    numbers: Numbers = {
        "mean": finite(float(row["mean"])),
        "bound": finite(float(row["bound"])),
        "threshold": float(row["threshold"]),
        "flag": side,
        "seeds": seeds,
    }
    return Check(place_of(panel), f"{row['probe']}{where}", "probe", status, text, numbers)


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
        values, why = skills_of(own, condition, level)
        where = f"skill at level {level}" if level else "skill"
        if not values:
            statuses.append("skipped")
            said.append(f"{where}: {why}")
            continue
        bounds = t_interval(values, 2 * LEVEL - 1)
        limit = HARM[level]
        statuses.append(held(bounds, limit, lenient=True))
        said.append(f"{where} {span(bounds)}; harm is shown below {limit:g}")
    text = "; ".join(said) + ". 0 is the best per-task baseline, 1 the oracle."
    return Check(place_of(panel), condition, "harm", worst(statuses), text)
