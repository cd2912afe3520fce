"""Sample efficiency: risk against shots, and how many shots something is worth.

A loss-data curve is the risk at the levels of a condition of role ``shot``, whose values are the
shots. Slices along its risk axis are those of Whitney et al. 2020 (arXiv:2009.07368).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from metabench.estimators.base import ESTIMATORS, Estimator
from metabench.estimators.panel import Panel
from metabench.estimators.roles import way
from metabench.estimators.skill import skill_table
from metabench.records import IN_DISTRIBUTION

Array = NDArray[np.float64]
Censored = Literal["", "above", "below"]
"""Whether the true value is the one given, above it or below it."""

ROLE = "shot"


@dataclass(frozen=True)
class Curve:
    """Risks [n] at shots [n], ascending; the risk between two is linear in log K."""

    shots: Array
    risks: Array

    def isotonic(self) -> Curve:
        """The nearest curve that never rises (least squares)."""
        fit = isotonic_regression(self.risks, increasing=False)
        return Curve(self.shots, np.asarray(fit.x, dtype=np.float64))

    def at(self, shots: Array | float) -> Array:
        """The risk at these shots."""
        found = np.interp(np.log(shots), np.log(self.shots), self.risks)
        return np.asarray(found, dtype=np.float64)

    def needed(self, risk: float, near: float = 0.0) -> tuple[float, Censored]:
        """The shots K with that risk, of a curve that never rises.

        If several do, the K that is nearest to ``near``. "above": the risk is never that low, so K
        lies above the last shots, which are given; "below": it is lower from the first ones on.
        """
        if risk < self.risks[-1]:
            return float(self.shots[-1]), "above"
        if risk > self.risks[0]:
            return float(self.shots[0]), "below"
        first = int(np.argmax(self.risks <= risk))
        last = len(self.risks) - 1 - int(np.argmax(self.risks[::-1] >= risk))
        low = self.shots[0] if first == 0 else self._between(first - 1, risk)
        high = self.shots[-1] if last == len(self.shots) - 1 else self._between(last, risk)
        return float(np.clip(near, low, high)), ""

    def _between(self, i: int, risk: float) -> float:
        """Where the falling line from point i to the next has that risk."""
        (a, b), (x, y) = self.risks[i : i + 2], np.log(self.shots[i : i + 2])
        return float(np.exp(x + (a - risk) / (a - b) * (y - x)))


@dataclass(frozen=True)
class Case:
    """The curve of one learner and seed, and that of the best baseline of each level."""

    label: str
    condition: str
    seed: int
    levels: NDArray[np.int64]
    """[n] of the condition, in the order of the shots."""
    curve: Curve
    base: Curve
    target: float
    """The epsilon of the condition: the mean risk of the best baseline at the most shots."""


def cases(panel: Panel) -> Iterator[Case]:
    """Of every learner and seed with all levels of a condition of shots, two or more.

    Without a baseline there is neither an epsilon nor anything to compare with, and no case.
    """
    table = skill_table(panel).dropna(subset=["base_risk"])
    for condition in panel.protocol.conditions:
        if condition.role != ROLE or len(condition.values) < 2:
            continue
        values = np.asarray(condition.values, dtype=np.float64)
        rows = table[table["condition"] == condition.name]
        rows = rows.assign(shots=values[rows["level"].to_numpy(np.int64) - 1])
        most = rows[rows["shots"] == values.max()]
        target = float(most.drop_duplicates("seed")["base_risk"].mean())
        order = np.argsort(values)
        shots, levels = values[order], order + 1
        own, base = (
            rows.pivot_table(index=["label", "seed"], columns="shots", values=column)
            .reindex(columns=shots)
            .dropna()
            for column in ("risk", "base_risk")
        )
        for (label, seed), risk, against in zip(
            own.index.to_list(), own.to_numpy(np.float64), base.to_numpy(np.float64), strict=True
        ):
            mine, theirs = Curve(shots, risk), Curve(shots, against)
            yield Case(str(label), condition.name, int(seed), levels, mine, theirs, target)


def sample_complexity(panel: Panel) -> pd.DataFrame:
    """eSC: the least shots at which the isotonic curve has fallen to epsilon.

    Columns: label, condition, seed, value, censored.
    """
    rows = [
        (case.label, case.condition, case.seed, *case.curve.isotonic().needed(case.target))
        for case in cases(panel)
    ]
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value", "censored"])


def surplus_description_length(panel: Panel) -> pd.DataFrame:
    """SDL = sum over all K from the least shots to the most of max(0, L_K - epsilon).

    Columns as of ``sample_complexity``; in units of risk times shots. Between levels L_K is
    interpolated, linear in log K. Censored where epsilon is not reached: more shots would add.
    """
    rows = []
    for case in cases(panel):
        shots = np.arange(case.curve.shots[0], case.curve.shots[-1] + 1)
        surplus = float(np.maximum(0, case.curve.at(shots) - case.target).sum())
        censored: Censored = "above" if case.curve.risks[-1] > case.target else ""
        rows.append((case.label, case.condition, case.seed, surplus, censored))
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value", "censored"])


def data_equivalence(panel: Panel) -> pd.DataFrame:
    """DER(K) = n_base(R_f(K)) / K: shots that the best baseline needs for each that f uses.

    Columns: label, condition, level, seed, shots (K), value, censored. Both curves are isotonic
    fits; the baseline's is of the same seed, on the same episodes: against itself it has 1.
    """
    rows = []
    for case in cases(panel):
        curve, base = case.curve.isotonic(), case.base.isotonic()
        for level, shots, risk in zip(case.levels, curve.shots, curve.risks, strict=True):
            needed, censored = base.needed(risk, near=shots)
            where = (case.label, case.condition, level, case.seed)
            rows.append((*where, shots, needed / shots, censored))
    columns = ["label", "condition", "level", "seed", "shots", "value", "censored"]
    return pd.DataFrame(rows, columns=columns)


def break_even_tasks(panel: Panel) -> pd.DataFrame:
    """N_be = C_meta / (C_base - C_adapt) in examples, at every number of shots.

    Columns as of ``data_equivalence``. C_meta are the support and query items of meta-training,
    C_adapt those of a support, C_base those of a support that brings the best baseline to the same
    risk. Infinite where these are no more. NaN in classification with a way that varies; learners
    without meta-training have no rows.
    """
    used = pd.DataFrame(
        [
            (panel.labels[r.id], r.key.seed, r.used.examples)
            for r in panel.records
            if r.used.tasks > 0
        ],
        columns=["label", "seed", "cost"],
    )
    table = data_equivalence(panel).merge(used, on=["label", "seed"])
    classes = 1 if panel.protocol.kind == "regression" else way(panel) or np.nan
    saved = classes * table["shots"] * (table["value"] - 1)
    value = (table["cost"] / saved.where(saved > 0)).mask(saved <= 0, np.inf)
    # More saved than is known pays off after fewer tasks.
    censored = table["censored"].map({"": "", "above": "below", "below": ""})
    return table.assign(value=value, censored=censored).drop(columns="cost")


def break_even_seconds(panel: Panel) -> pd.DataFrame:
    """N_be in seconds, in distribution: label, condition, seed, value.

    C_meta is the time of meta-training, C_base and C_adapt that of an episode of the evaluation,
    the mean over all that the cell evaluated, its drawing included. Infinite where the best
    baseline is as fast; learners without meta-training have no rows.
    """
    table = skill_table(panel)
    table = table[table["condition"] == IN_DISTRIBUTION].dropna(subset=["base"])
    records = {(panel.labels[r.id], r.key.seed): r for r in panel.records}
    episode = ["label", "seed", "condition", "level", "checkpoint", "episode"]
    episodes = panel.history[episode].drop_duplicates().groupby(episode[:2]).size()
    pace = {
        key: records[key].evaluation_seconds / n for key, n in episodes.items() if key in records
    }
    rows = []
    for label, seed, base in table[["label", "seed", "base"]].itertuples(index=False):
        key, rival = (label, seed), (base, seed)
        if key in pace and rival in pace and records[key].used.tasks > 0:
            saved = pace[rival] - pace[key]
            value = records[key].used.seconds / saved if saved > 0 else np.inf
            rows.append((label, IN_DISTRIBUTION, seed, value))
    return pd.DataFrame(rows, columns=["label", "condition", "seed", "value"])


ESTIMATORS.register("sample-complexity")(
    Estimator(
        "Sample complexity",
        "Shots after which the risk is that of the best per-task baseline with the most shots "
        "measured. Lower is better.",
        sample_complexity,
        digits=1,
        log=True,
    )
)
ESTIMATORS.register("sdl")(
    Estimator(
        "Surplus description length (SDL)",
        "Risk above that of the best per-task baseline with the most shots, summed over all shots "
        "up to there. Lower is better.",
        surplus_description_length,
    )
)
ESTIMATORS.register("der")(
    Estimator(
        "Data-equivalence ratio (DER)",
        "Shots that the best per-task baseline needs for each shot of the learner, at the same "
        "risk. Higher is better; to be read beside the break-even number of tasks.",
        data_equivalence,
        digits=2,
        log=True,
    )
)
ESTIMATORS.register("break-even-tasks")(
    Estimator(
        "Break-even number of tasks",
        "New tasks after which the examples saved on them exceed those of meta-training; infinite "
        "if none are saved. Lower is better.",
        break_even_tasks,
        digits=0,
        log=True,
    )
)
ESTIMATORS.register("break-even-seconds")(
    Estimator(
        "Break-even number of tasks, by time",
        "New tasks after which the seconds saved on them exceed those of meta-training; infinite "
        "if none are saved. Lower is better.",
        break_even_seconds,
        digits=0,
        log=True,
    )
)
