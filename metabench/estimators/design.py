"""What a design over a learner's knobs says of it, over the sources of a suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.errors import MetabenchError
from metabench.estimators import surrogate
from metabench.estimators.design_scores import score_array, score_table
from metabench.estimators.panel import Panel
from metabench.estimators.sensitivity import (
    NEAR_BEST,
    failed,
    gamma,
    near_best,
    over_points,
    phi,
    termination_ratio,
)
from metabench.estimators.skill import IDENTIFIABLE, skill_table
from metabench.records import IN_DISTRIBUTION, Knob, Record
from metabench.statistics import Interval, t_interval

Array = NDArray[np.float64]

EACH_KNOB = 10
"""Settings a knob that a surrogate is fitted to, at least (Loeppky, Sacks and Welch 2009)."""
DRAWS = 30
"""Of the points, for the intervals of what a surrogate says."""


@dataclass(frozen=True)
class Spread:
    """The scores of one learner's settings at one source."""

    source: str
    default: float | None
    """Score of the learner as it comes; None if it has none."""
    scores: tuple[float, ...]
    """Of the settings whose trainings did not fail, the means over seeds, in rising order."""
    mean: float
    """Over all settings; one that failed counts as the least, as it does in the median. NaN where
    all have failed."""
    median: float
    best: float
    """Of the setting that is best on one half of the episodes, on the other; mean of both ways."""
    near_best: float
    failed: float
    guess: float
    """Of the best prediction without support; NaN where that is not known."""


@dataclass(frozen=True)
class Bounded:
    """A value with its 95 % bootstrap interval over points."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """How much one learner hangs on its knobs, over the sources of a suite."""

    label: str
    settings: int
    seeds: int
    spreads: tuple[Spread, ...]
    near_best: Interval
    """V95, over sources and seeds."""
    near_best_points: Bounded
    failed: float
    phi: Interval | None
    """Over seeds; None with a single source."""
    phi_points: Bounded | None
    ratios: dict[int, Bounded]
    """rho_k by k, where the learner has knobs of level k and of level k + 1, with one-sided 95 %
    bounds over points."""
    knobs: pd.DataFrame | None
    """Columns knob, first, total, low, high: Sobol indices of the mean of Gamma over sources."""
    explained: float | None
    """How much of the score the surrogate behind ``knobs`` and ``ratios`` predicts."""
    reason: str = ""
    """Why there are no ``knobs``."""

    @property
    def default(self) -> float | None:
        """Mean over sources of the skill of the learner as it comes."""
        known = [s.default for s in self.spreads]
        return None if None in known else fmean(v for v in known if v is not None)

    @property
    def mean(self) -> float:
        """Mean over sources and settings."""
        return fmean(s.mean for s in self.spreads)

    @property
    def median(self) -> float:
        """Mean over sources of the median setting."""
        return fmean(s.median for s in self.spreads)

    @property
    def best(self) -> float:
        """Mean over sources of the best setting there, scored where it was not chosen."""
        return fmean(s.best for s in self.spreads)

    @property
    def learned(self) -> float:
        """Share of the way from guessing to the oracle that the best setting goes."""
        return fmean((s.best - s.guess) / (1 - s.guess) for s in self.spreads)

    @property
    def learns(self) -> bool:
        """Whether some setting is better than guessing; if not, being near the best is nothing."""
        return not self.learned < 1 - NEAR_BEST

    @property
    def terminates(self) -> bool | None:
        """Whether every level matters less than the one below it, with 95 % confidence."""
        return all(r.high < 1 for r in self.ratios.values()) if self.ratios else None


def sensitivities(panels: Sequence[Panel]) -> list[Sensitivity]:
    """Of every learner of the panels of one suite that has settings; the most robust first.

    Sources and seeds that lack a setting are left out.
    """
    tables = {panel.source: score_table(panel) for panel in panels}
    defaults = {panel.source: _defaults(panel) for panel in panels}
    found: dict[str, list[Record]] = {}
    for panel in panels:
        for record in panel.settings:
            found.setdefault(panel.label_of(record), []).append(record)
    made = []
    for label, records in found.items():
        own = {s: t[t["label"] == label] for s, t in tables.items()}
        scores = _common(own)
        references = {s: (defaults[s].get(label), float(own[s]["guess"].mean())) for s in scores}
        if scores:
            made.append(_sensitivity(label, records, scores, references))
    return sorted(made, key=lambda s: (-s.near_best.mean, s.label))


def _defaults(panel: Panel) -> dict[str, float]:
    """Label -> mean skill in distribution of the learner as it comes."""
    skills = skill_table(panel)
    known = (skills["condition"] == IN_DISTRIBUTION) & (skills["status"] == IDENTIFIABLE)
    return {str(k): float(v) for k, v in skills[known].groupby("label")["skill"].mean().items()}


def _common(tables: dict[str, pd.DataFrame]) -> dict[str, Array]:
    """Source -> scores [J, 2, P] over the seeds that all sources have with every setting.

    A source where no seed has every setting, as in a run that was cut short, is left out.
    """
    points = {p for table in tables.values() for p in table["point"]}
    whole = {}
    for source, table in tables.items():
        met = table.groupby("seed")["point"].nunique()
        if seeds := set(met[met == len(points)].index):
            whole[source] = seeds
    shared = set.intersection(*whole.values()) if whole else set()
    if not shared:
        return {}
    return {s: score_array(tables[s][tables[s]["seed"].isin(shared)]) for s in whole}


def _sensitivity(
    label: str,
    records: Sequence[Record],
    by_source: dict[str, Array],
    references: dict[str, tuple[float | None, float]],
) -> Sensitivity:
    """``references`` are the scores of the defaults and of guessing, by source."""
    scores = np.stack(list(by_source.values()), axis=1)  # [J, E, 2, P]
    each = np.array([near_best(seed) for seed in scores])
    phis = [phi(seed) for seed in scores] if scores.shape[1] > 1 else []
    knobs, ratios, explained, reason = _surrogate(records, scores)
    return Sensitivity(
        label=label,
        settings=scores.shape[-1],
        seeds=len(scores),
        spreads=tuple(
            _spread(source, own, *references[source]) for source, own in by_source.items()
        ),
        near_best=t_interval(list(each.ravel())),
        near_best_points=_bounded(float(each.mean()), _mean_near_best, scores),
        failed=float(np.mean([failed(seed) for seed in scores])),
        phi=t_interval(phis) if phis else None,
        phi_points=_bounded(float(np.mean(phis)), _mean_phi, scores) if phis else None,
        ratios=ratios,
        knobs=knobs,
        explained=explained,
        reason=reason,
    )


def _mean_near_best(scores: Array) -> float:
    return float(np.mean([near_best(seed) for seed in scores]))


def _mean_phi(scores: Array) -> float:
    return float(np.mean([phi(seed) for seed in scores]))


def _bounded(value: float, statistic: Callable[[Array], float], scores: Array) -> Bounded:
    return Bounded(value, *over_points(statistic, scores, draws=499))


def _spread(source: str, scores: Array, default: float | None, guess: float) -> Spread:
    """Of scores [J, 2, P]."""
    lost = np.isnan(scores).any(axis=(0, 1))
    kept = scores[..., ~lost]
    least = float(kept.min()) if kept.size else float("nan")
    whole = np.where(np.isnan(scores), least, scores)
    pairs = [(one[a], one[b]) for one in whole for a, b in ((0, 1), (1, 0))]
    best = [scored[chosen.argmax()] for chosen, scored in pairs]
    setting = whole.mean(axis=(0, 1))
    return Spread(
        source=source,
        default=default if default is None or np.isnan(guess) else max(default, guess),
        scores=tuple(sorted(float(v) for v in kept.mean(axis=(0, 1)))),
        mean=float(setting.mean()),
        median=float(np.median(setting)),
        best=float(np.mean(best)),
        near_best=_mean_near_best(scores[:, None]),
        failed=float(np.mean([failed(seed[None]) for seed in scores])),
        guess=guess,
    )


def _surrogate(
    records: Sequence[Record], scores: Array
) -> tuple[pd.DataFrame | None, dict[int, Bounded], float | None, str]:
    """Sobol indices and termination ratios of scores [J, E, 2, P]; or why there are none."""
    by_point = {r.learner.point or 0: r for r in records}
    points = [by_point[i] for i in sorted(by_point)]
    knobs = points[0].learner.knobs
    if len(points) < EACH_KNOB * len(knobs):
        return None, {}, None, f"needs {EACH_KNOB * len(knobs)} settings"
    if len(points) != scores.shape[-1]:
        return None, {}, None, "some settings are missing"
    design = np.array([[_unit(knob, r) for knob in knobs] for r in points])
    target = np.mean([gamma(seed).mean(axis=(0, 1)) for seed in scores], axis=0)
    try:
        fitted = surrogate.fit(design, target)
    except MetabenchError as error:
        return None, {}, None, str(error)
    varies = bool(fitted.scores.any())
    drawn = list(fitted.resampled(DRAWS, 0)) if varies else []
    table = surrogate.sobol_indices(fitted, [k.field for k in knobs], drawn)
    return table, _ratios(fitted, drawn, knobs) if varies else {}, fitted.explained, ""


def _unit(knob: Knob, record: Record) -> float:
    value = record.key.parameters[knob.field]
    assert isinstance(value, int | float)
    return knob.unit(float(value))


def _ratios(
    fitted: surrogate.Surrogate, resampled: Sequence[surrogate.Surrogate], knobs: Sequence[Knob]
) -> dict[int, Bounded]:
    """k -> rho_k with its interval over points."""
    levels: dict[int, list[int]] = {}
    for column, knob in enumerate(knobs):
        if knob.level is not None:
            levels.setdefault(knob.level, []).append(column)
    pairs = [k for k in sorted(levels) if k + 1 in levels]
    if not pairs:
        return {}

    def ratios(one: surrogate.Surrogate) -> list[float]:
        found = surrogate.effects(one, levels)
        return [termination_ratio(found[k], found[k + 1]) for k in pairs]

    values = ratios(fitted)
    drawn = np.array([ratios(one) for one in resampled])
    # A level that makes no difference in a draw has no ratio there: it may be without bound.
    low, high = np.percentile(np.where(np.isnan(drawn), np.inf, drawn), [5, 95], axis=0)
    return {k: Bounded(*v) for k, *v in zip(pairs, values, low, high, strict=True) if v[0] == v[0]}
