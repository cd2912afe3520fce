"""Drift: how fast the world may change before learning it costs more than it gains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.curve import crossing
from metabench.estimators.panel import Panel
from metabench.records import ORACLE, Condition
from metabench.statistics import t_interval

HAZARD, WALK = "hazard", "walk"
"""Roles of conditions whose values are rates of drift."""
STATIC, BEFORE, AFTER, INTERVAL = "static", "before", "after-", "interval"
"""Metrics of streams beside the protocol's."""
EARLY = 0.5
"""Switches in an interval between two adaptations, below which a learner should gain."""
REGAINED = 0.9
"""Share of the gain before a switch."""
LEAST_GAIN = 0.05
"""Share of the static loss that a learner must gain for its regaining to have a time."""
KEYS = ["label", "condition", "seed"]


def drift_table(panel: Panel) -> pd.DataFrame:
    """One row a label, condition, level and seed: rate, risk, static, filter, A.

    A = (L_static - L) / (L_static - L_filter), of means over streams: 0 is the prior, never
    adapted; 1 is the exact filter, which knows how the world drifts; below 0, adapting is worse
    than not. NaN at a level where the mean over seeds of L_static - L_filter is below the
    protocol's floor, or some seed's is not positive: there is next to nothing to gain.
    """
    rates = _rates(panel)
    rows = panel.rows.merge(rates, on=["condition", "level"])
    keys = ["condition", "level", "rate", "seed"]
    known = rows[rows["label"] == ORACLE]
    static = _mean(known[known["metric"] == STATIC], keys, "value", "static")
    exact = _mean(known[known["risk"].notna()], keys, "risk", "filter")
    table = _mean(rows[rows["risk"].notna()], ["label", *keys], "risk", "risk")
    table = table.merge(static, on=keys).merge(exact, on=keys)
    gap = (table["static"] - table["filter"]).astype(float)
    groups = gap.groupby([table["condition"], table["level"]])
    enough = groups.transform("mean") >= panel.protocol.floor
    known_gap = gap.where(enough & (groups.transform("min") > 0))
    advantage = (table["static"] - table["risk"]) / known_gap
    return table.assign(A=advantage)


def _mean(rows: pd.DataFrame, keys: list[str], column: str, name: str) -> pd.DataFrame:
    """The columns ``keys`` and ``name``."""
    return rows.groupby(keys, as_index=False)[[column]].mean().rename(columns={column: name})


def _rates(panel: Panel, roles: tuple[str, ...] = (HAZARD, WALK)) -> pd.DataFrame:
    """condition, level, rate."""
    rows = [
        (condition.name, level, rate)
        for condition in _drifting(panel, roles)
        for level, rate in enumerate(condition.values, start=1)
    ]
    return pd.DataFrame(rows, columns=["condition", "level", "rate"])


def _drifting(panel: Panel, roles: tuple[str, ...]) -> list[Condition]:
    return [c for c in panel.protocol.conditions if c.role in roles]


def advantage_table(panel: Panel) -> pd.DataFrame:
    """A: label, condition, level, seed, value."""
    return drift_table(panel).rename(columns={"A": "value"})[[*KEYS, "level", "value"]]


def advantage_curve(table: pd.DataFrame, label: str, condition: str) -> pd.DataFrame:
    """A of one learner, rates above 0 [rows, ascending] by seeds [columns], from ``drift_table``.

    Rates that are not identifiable, or lack a seed, are left out.
    """
    rows = table[
        (table["label"] == label) & (table["condition"] == condition) & (table["rate"] > 0)
    ]
    return rows.pivot_table(index="rate", columns="seed", values="A").dropna()


@dataclass(frozen=True)
class Boundary:
    """h*: the rate at which A meets zero; ``None`` where it does not by the last rate.

    ``low`` and ``high`` bound it; a ``high`` of None is censored at ``last``, and what equals
    ``first`` was below zero there already. With one seed ``interval`` is False.
    """

    rate: float | None
    low: float | None
    high: float | None
    first: float
    last: float
    interval: bool

    def text(self, times: float = 1.0) -> str:
        """``0.028 [0.024, 0.031]``, all ``times`` a number of items; beyond the last, ``> 0.3``."""

        def bound(value: float | None) -> str:
            if value is None:
                return f"> {self.last * times:.2g}"
            return f"{'< ' if value == self.first else ''}{value * times:.2g}"

        if not self.interval:
            return bound(self.rate)
        return f"{bound(self.rate)} [{bound(self.low)}, {bound(self.high)}]"


def boundary(curve: pd.DataFrame) -> Boundary | None:
    """h* of a curve of A, with linear interpolation in log h between rates.

    The interval holds the rates at which A = 0 is not rejected: from where the lower t-bound over
    seeds first falls below zero to where the upper one does, as in ``curve.break_even``. None
    without two rates.
    """
    if len(curve) < 2:
        return None
    rates = curve.index.to_numpy(dtype=np.float64)
    intervals = [t_interval(list(row)) for row in curve.to_numpy(dtype=np.float64)]

    def meets(values: list[float]) -> float | None:
        if values[0] < 0:
            return float(rates[0])
        at = crossing(np.log(rates), values)
        return None if at is None else float(np.exp(at))

    mean = meets([i.mean for i in intervals])
    first, last = float(rates[0]), float(rates[-1])
    if curve.shape[1] == 1:
        return Boundary(mean, None, None, first, last, interval=False)
    low = meets([i.mean if i.low is None else i.low for i in intervals])
    high = meets([i.mean if i.high is None else i.high for i in intervals])
    return Boundary(mean, low, high, first, last, interval=True)


def boundaries(panel: Panel) -> dict[tuple[str, str], Boundary]:
    """(label, condition) -> h* with its interval over seeds."""
    return {
        (label, condition): found
        for label, condition, curve in _curves(panel)
        if (found := boundary(curve)) is not None
    }


def constants(panel: Panel) -> dict[tuple[str, str], tuple[Boundary, float]]:
    """(label, condition) -> h* and tau; B = h* tau has its interval, times tau."""
    tau = _intervals(panel).groupby(["label", "condition"])["tau"].mean()
    return {key: (found, float(tau[key])) for key, found in boundaries(panel).items() if key in tau}


def _curves(panel: Panel) -> Iterator[tuple[str, str, pd.DataFrame]]:
    table = drift_table(panel)
    for label, condition in sorted(set(zip(table["label"], table["condition"], strict=True))):
        yield label, condition, advantage_curve(table, label, condition)


def limit_table(panel: Panel) -> pd.DataFrame:
    """h* of every seed: label, condition, seed, value; NaN unless A meets zero in every seed.

    A mean of those that do would be too small; ``boundaries`` has an interval all the same.
    """
    rows = []
    for label, condition, curve in _curves(panel):
        for seed in curve.columns:
            found = boundary(curve[[seed]])
            rate = np.nan if found is None or found.rate is None else found.rate
            rows.append((label, condition, int(str(seed)), rate))
    return _all_or_none(pd.DataFrame(rows, columns=[*KEYS, "value"]), ["label", "condition"])


def constant_table(panel: Panel) -> pd.DataFrame:
    """B = h* tau of every seed, tau being the items between two adaptations; under hazards only."""
    rows = limit_table(panel)
    rows = rows[rows["condition"].isin([c.name for c in _drifting(panel, (HAZARD,))])]
    table = rows.merge(_intervals(panel), on=KEYS)
    return table.assign(value=table["value"] * table["tau"])[[*KEYS, "value"]]


def _intervals(panel: Panel) -> pd.DataFrame:
    """label, condition, seed, tau."""
    return _mean(panel.rows[panel.rows["metric"] == INTERVAL], KEYS, "value", "tau")


def early_table(panel: Panel) -> pd.DataFrame:
    """A where h tau < 1/2: label, condition, level, seed, value.

    A learner that adapts twice or more for every switch has no excuse for a loss.
    """
    table = drift_table(panel).merge(_intervals(panel), on=KEYS)
    hazards = [c.name for c in _drifting(panel, (HAZARD,))]
    slow = table["condition"].isin(hazards) & (table["rate"] * table["tau"] < EARLY)
    return table[slow].rename(columns={"A": "value"})[[*KEYS, "level", "value"]]


def regain_table(panel: Panel) -> pd.DataFrame:
    """tau90: label, condition, level, seed, value: items from a switch to 90 % of the gain before.

    The gain is the static loss less the learner's. The loss by items since the switch, a mean over
    switches, is made to fall by isotonic regression, and interpolated. NaN unless in every seed it
    is regained within the ages that the streams have, and there was a gain to regain.
    """
    rows = panel.rows.merge(_rates(panel, (HAZARD,)), on=["condition", "level"])
    keys = [*KEYS, "level"]
    loss = rows[rows["metric"].str.startswith(AFTER)]
    ages = loss["metric"].str.removeprefix(AFTER).astype(int)
    loss = _mean(loss.assign(age=ages), [*keys, "age"], "value", "value")
    before = rows[rows["metric"] == BEFORE].groupby(keys)["value"].mean()
    known = rows[(rows["label"] == ORACLE) & (rows["metric"] == STATIC)]
    static = known.groupby(["condition", "level", "seed"])["value"].mean()
    found = []
    for (label, condition, seed, level), course in loss.groupby(keys):
        start = static.get((condition, level, seed), np.nan)
        gain = start - before.get((label, condition, seed, level), np.nan)
        at: float | None = None
        if gain > LEAST_GAIN * start:
            falling = optimize.isotonic_regression(course["value"], increasing=False).x
            at = crossing(
                course["age"].to_numpy(np.float64), list(falling - (start - REGAINED * gain))
            )
        found.append((label, condition, seed, level, np.nan if at is None else at))
    return _all_or_none(
        pd.DataFrame(found, columns=[*keys, "value"]), ["label", "condition", "level"]
    )


def _all_or_none(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """No value of any seed of a group in which some seed has none."""
    unknown = table["value"].isna()
    some = unknown.groupby([table[key] for key in keys]).transform("any")
    return table.assign(value=table["value"].mask(some.astype(bool)))


def regret_slope_table(panel: Panel) -> pd.DataFrame:
    """Slope of L - L_filter on log10 of the rate: label, condition, seed, value."""
    rows = drift_table(panel)
    rows = rows[rows["rate"] > 0].assign(regret=rows["risk"] - rows["filter"])
    found = [
        (*key, float(np.polyfit(np.log10(path["rate"]), path["regret"], 1)[0]))
        for key, path in rows.groupby(KEYS)
        if len(path) > 1
    ]
    return pd.DataFrame(found, columns=[*KEYS, "value"])


def monotonicity_table(panel: Panel) -> pd.DataFrame:
    """Kendall's tau of A with the rate: label, condition, seed, value; -1: A always falls."""
    rows = drift_table(panel).dropna(subset="A")
    found = [
        (*key, float(stats.kendalltau(path["rate"], path["A"]).statistic))
        for key, path in rows.groupby(KEYS)
        if len(path) > 1
    ]
    return pd.DataFrame(found, columns=[*KEYS, "value"])


ESTIMATORS.register("drift-advantage")(
    Estimator(
        "Advantage under drift (A)",
        "0 is the prior that never adapts, 1 the exact filter that knows the drift, below 0 "
        "adapting does harm. Higher is better.",
        advantage_table,
        digits=2,
    )
)
ESTIMATORS.register("drift-early")(
    Estimator(
        "Advantage under slow drift",
        "A at the hazards that bring less than half a switch between two adaptations. Below 0 a "
        "learner loses by adapting where it is much faster than its world. Higher is better.",
        early_table,
        digits=2,
    )
)
ESTIMATORS.register("drift-limit")(
    Estimator(
        "Break-even rate of drift (h*)",
        "The rate at which A meets zero, in switches an item. Higher is better.",
        limit_table,
        digits=4,
    )
)
ESTIMATORS.register("drift-constant")(
    Estimator(
        "Drift constant (B)",
        "Break-even hazard times the items between two adaptations: the switches that a learner "
        "can bear for each adaptation. Exact Bayes on a clean support has 1.59.",
        constant_table,
        digits=2,
    )
)
ESTIMATORS.register("drift-regain")(
    Estimator(
        "Time to regain (tau90)",
        "Items after a switch until 90 % of the gain before it is regained. Lower is better.",
        regain_table,
        digits=1,
    )
)
ESTIMATORS.register("drift-regret-slope")(
    Estimator(
        "Slope of regret",
        "Rise of the loss above the exact filter's for ten times the rate of drift, in units of "
        "the raw loss. Lower is better.",
        regret_slope_table,
    )
)
ESTIMATORS.register("drift-monotonicity")(
    Estimator(
        "Order of advantage and rate",
        "Kendall's correlation of A with the rate of drift: -1 where A falls from each rate to "
        "the next, as it ought to.",
        monotonicity_table,
        digits=2,
    )
)
