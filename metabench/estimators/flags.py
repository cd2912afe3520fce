"""Flags: which learners a suite's probes call out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from metabench.estimators.base import ESTIMATORS
from metabench.estimators.panel import Panel
from metabench.records import ORACLE, Probe
from metabench.statistics import holm, one_sided_p, t_interval

LEVEL = 0.95
"""Of the one-sided bound: a learner exactly at a threshold is flagged in 5 % of the cases, and in
no more where a probe looks at several conditions or levels (Holm 1979)."""
NOT_AFTER_HOLM = "not after Holm's correction over {} conditions and levels"
COLUMNS = [
    "label",
    "probe",
    "condition",
    "level",
    "seeds",
    "mean",
    "bound",
    "threshold",
    "flag",
    "flagged",
    "reason",
]


def probe_table(panel: Panel) -> pd.DataFrame:
    """What the suite's probes say of every learner but the oracle.

    Columns: label, probe (the estimator), condition, level (of the condition; 0 where the quantity
    has none), seeds (with a value), mean, bound (one-sided 95 % t-bound over seeds, NaN with one),
    threshold, flag (the side: "above" or "below"), flagged (True, False, or None where it cannot be
    said), reason (why it cannot, or what is lacking). Where a probe looks at several conditions or
    levels, a bound beyond the threshold is not enough: its test has to hold after Holm's correction
    over them. Of quantities with ``Estimator.log`` mean and bound are geometric. A learner to which
    a probe does not apply has one row of 0 seeds.
    """
    turned = {panel.label_of(record) for record in panel.settings}
    labels = sorted(set(panel.rows["label"]) - {ORACLE} | turned)
    rows = [row for probe in panel.protocol.probes for row in _rows(panel, probe, labels)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"flagged": object, "level": int, "seeds": int})


def _rows(panel: Panel, probe: Probe, labels: list[str]) -> Iterator[tuple[object, ...]]:
    """One for every label, condition and level."""
    estimator = ESTIMATORS.get(probe.estimator)
    table = estimator.compute(panel)
    if "level" not in table:
        table = table.assign(level=0)
    if "censored" not in table:
        table = table.assign(censored="")
    if probe.condition is not None:
        table = table[table["condition"] == probe.condition]
    if probe.level is not None:
        table = table[table["level"] == probe.level]
    known = table[table["label"].isin(labels)]
    for label, own in known.groupby("label"):
        places, parts = zip(*own.groupby(["condition", "level"]), strict=True)
        judged = _together([_judge(part, probe, estimator.log) for part in parts])
        for (condition, level), (_, *rest) in zip(places, judged, strict=True):
            yield (label, probe.estimator, condition, level, *rest)
    for label in sorted(set(labels) - set(known["label"])):
        where = (label, probe.estimator, probe.condition or "", probe.level or 0)
        limit = (probe.threshold, probe.flag)
        yield (*where, 0, np.nan, np.nan, *limit, None, "not applicable: no values")


Judged = tuple[float, int, float, float, float, str, bool | None, str]
"""p, seeds, mean, bound, threshold, flag, flagged, reason."""


def _together(judged: list[Judged]) -> list[Judged]:
    """What one probe says of one learner: flags that do not hold after Holm are taken back."""
    adjusted = holm([one[0] for one in judged])
    reason = NOT_AFTER_HOLM.format(int(np.isfinite(adjusted).sum()))
    return [
        (*one[:6], False, f"{one[7]}; {reason}".removeprefix("; "))
        if one[6] and p > 1 - LEVEL
        else one
        for one, p in zip(judged, adjusted, strict=True)
    ]


def _judge(part: pd.DataFrame, probe: Probe, log: bool) -> Judged:
    """One quantity of one learner; p is of the one-sided t-test against the threshold.

    Seeds without a value are left out, and the reason says how many they are.
    """
    limit = (probe.threshold, probe.flag)
    known = part[part["value"].notna()]
    values = known["value"].to_numpy(np.float64)
    seeds, lacking = len(values), len(part) - len(values)
    reason = f"undefined in {lacking} of {len(part)} seeds" if lacking else ""
    if np.isinf(values).any():
        return (np.nan, seeds, np.inf, np.nan, *limit, None, "infinite in a seed")
    if seeds == 0:
        return (np.nan, 0, np.nan, np.nan, *limit, None, reason)
    scaled, threshold = values, probe.threshold
    if log:
        scaled, threshold = np.log(values), float(np.log(threshold))
    interval = t_interval(list(scaled), 2 * LEVEL - 1)
    above = probe.flag == "above"
    mean = float(np.exp(interval.mean) if log else interval.mean)
    raw = interval.low if above else interval.high
    if raw is None:
        return (np.nan, seeds, mean, np.nan, *limit, None, "needs 2 seeds")
    bound = float(np.exp(raw) if log else raw)
    flagged = bound > probe.threshold if above else bound < probe.threshold
    # The true value may be on the other side of the threshold.
    if flagged and (known["censored"] == ("below" if above else "above")).any():
        return (np.nan, seeds, mean, bound, *limit, None, "censored: beyond what was measured")
    p = one_sided_p(list(scaled), threshold, above)
    return (p, seeds, mean, bound, *limit, flagged, reason)
