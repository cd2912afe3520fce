"""Two pictures of a pool of learners over tasks: performance profiles and mean ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metabench.reports.drawing import Picture, picture
from metabench.reports.figures import SKILL_RANGE, as_svg, blank, styled
from metabench.reports.palette import Look, Theme
from metabench.statistics import Interval, number, performance_profile
from metabench.statistics.aggregate import resampled
from metabench.statistics.families import critical_difference

Array = NDArray[np.float64]

THRESHOLDS = np.linspace(*SKILL_RANGE, 48)
SHOWN = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0)
"""Thresholds of the table."""
RESAMPLES = 2_000
LEAST_SEEDS = 5
"""Of a band; from three seeds and six tasks it would cover 0.8 where 0.95 is meant."""
LEAST = 3
"""Learners, and tasks, that the picture of ranks needs."""


@dataclass(frozen=True)
class Profiles:
    """The picture, and its numbers at ``SHOWN``."""

    picture: Picture
    rows: list[tuple[str, list[Interval]]]

    @property
    def bands(self) -> bool:
        """Whether some curve has one."""
        return any(shares[0].low is not None for _, shares in self.rows)


def performance_profiles(pool: Mapping[str, Array], looks: Mapping[str, Look]) -> Profiles | None:
    """Share of seeds and tasks with a skill above each threshold; None with less than two tasks.

    Scores are [J, M]. Bands are 95 % at each threshold alone, by resampling seeds whole.
    """
    if not pool or next(iter(pool.values())).shape[1] < 2:
        return None
    curves = {label: profile(scores, THRESHOLDS) for label, scores in pool.items()}

    def draw(theme: Theme) -> str:
        return profile_figure(curves, looks, theme)

    rows = [(label, profile(scores, np.array(SHOWN))) for label, scores in pool.items()]
    said = [f"{label} {100 * shares[2].mean:.0f} %" for label, shares in rows]
    alt = f"Share of seeds and tasks above each skill. Above 0: {', '.join(said)}."
    return Profiles(picture("Performance profiles", "", alt, draw), rows)


def profile(scores: Array, thresholds: Array) -> list[Interval]:
    """The share of scores [J, M] above each threshold, within [0, 1]; bounds from five seeds on.

    Bounds are for the picture: with few tasks they cover less than 95 %.
    """
    seeds = len(scores)
    point = performance_profile(scores, thresholds)
    if seeds < LEAST_SEEDS:
        return [Interval(float(p), None, None, seeds) for p in point]
    rng = np.random.default_rng(0)
    samples = resampled(scores, lambda s: performance_profile(s, thresholds), rng, RESAMPLES)
    half = float(stats.t.ppf(0.975, seeds - 1)) * samples.std(axis=0, ddof=1)
    low, high = np.clip(point - half, 0, 1), np.clip(point + half, 0, 1)
    return [
        Interval(float(p), float(a), float(b), seeds)
        for p, a, b in zip(point, low, high, strict=True)
    ]


def profile_figure(
    curves: Mapping[str, list[Interval]], looks: Mapping[str, Look], theme: Theme
) -> str:
    """Curves at ``THRESHOLDS``, one a learner."""
    import seaborn as sns

    with styled(theme):
        figure, axes = blank(4.6, 2.9, left=0.46)
        box = axes.get_position()
        lift = 0.2 / 2.9
        axes.set_position((box.x0, box.y0 + lift, box.width, box.height - lift))
        for label, points in curves.items():
            look = looks[label]
            colour = look.colour(theme)
            if points[0].low is not None and not look.reference:
                low, high = [p.low or 0.0 for p in points], [p.high or 0.0 for p in points]
                axes.fill_between(
                    THRESHOLDS, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2
                )
            axes.plot(
                THRESHOLDS,
                [p.mean for p in points],
                color=colour,
                linewidth=1.3 if look.reference else 1.9,
                linestyle=(0, look.dashes) if look.dashes else "-",
                marker=look.marker,
                markevery=(len(curves) % 4 + 2, 8),
                markersize=3.6 if look.reference else 4.6,
                markeredgewidth=0,
                zorder=3 if look.reference else 4,
            )
        axes.axvline(0, color=theme.zero, linewidth=1.3, zorder=1)
        axes.set_xlim(*SKILL_RANGE)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−½", "baseline 0", "½", "1"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "50 %", "", "100 %"])
        axes.set_xlabel("skill", color=theme.muted)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        sns.despine(figure, left=True)
        return as_svg(figure)


@dataclass(frozen=True)
class Arm:
    """One learner in the picture of ranks: where its line leaves the axis, and where it ends."""

    label: str
    rank: float
    x: float
    y: float
    left: bool


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over tasks, and who is within Nemenyi's critical difference of whom."""

    arms: list[Arm]
    bars: list[tuple[float, float, float]]
    """(x, x, y) of the groups that the difference does not tell apart."""
    ticks: list[tuple[int, float]]
    difference: float
    ruler: float
    """Length of the difference on the axis."""
    tasks: int
    height: float

    @property
    def alt(self) -> str:
        """What it says."""
        said = ", ".join(f"{arm.label} {number(arm.rank)}" for arm in self.ranked)
        return (
            f"Mean ranks over {self.tasks} tasks, 1 is best: {said}. "
            f"Critical difference {number(self.difference)}."
        )

    @property
    def ranked(self) -> list[Arm]:
        """Best first."""
        return sorted(self.arms, key=lambda arm: arm.rank)


WIDTH, MARGIN, AXIS, STEP, BAR = 680.0, 172.0, 50.0, 21.0, 8.0
"""Of the picture of ranks, in pixels: names have ``MARGIN`` on both sides."""


def rank_picture(pool: Mapping[str, Array]) -> Ranks | None:
    """The critical-difference diagram of Demsar 2006; None below three learners or tasks.

    A picture only: its tasks are no independent blocks, and Nemenyi's test uses no pairing.
    """
    tasks = next(iter(pool.values())).shape[1] if pool else 0
    if len(pool) < LEAST or tasks < LEAST:
        return None
    ranks = sorted(_task_ranks(pool).items(), key=lambda item: (item[1], item[0]))
    count = len(ranks)
    difference = critical_difference(count, tasks)
    unit = (WIDTH - 2 * MARGIN) / (count - 1)

    def x(rank: float) -> float:
        return round(MARGIN + (rank - 1) * unit, 1)

    groups = cliques([rank for _, rank in ranks], difference)
    bars = [
        (x(ranks[a][1]) - 4, x(ranks[b][1]) + 4, AXIS + BAR * (i + 1.3))
        for i, (a, b) in enumerate(groups)
    ]
    top = AXIS + BAR * (len(groups) + 1.3) + 12
    half = (count + 1) // 2
    arms = [
        Arm(label, rank, x(rank), top + STEP * (i if i < half else count - 1 - i), i < half)
        for i, (label, rank) in enumerate(ranks)
    ]
    ticks = [(rank, x(rank)) for rank in range(1, count + 1)]
    ruler = round(difference * unit, 1)
    return Ranks(arms, bars, ticks, difference, ruler, tasks, top + STEP * half)


def cliques(ranks: list[float], difference: float) -> list[tuple[int, int]]:
    """Of sorted ranks, the largest runs (first, last) that span no more than the difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i, rank in enumerate(ranks) if rank - ranks[first] <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _task_ranks(pool: Mapping[str, Array]) -> dict[str, float]:
    """Rank by mean skill within each task, 1 is best, averaged over tasks."""
    means = np.stack([table.mean(axis=0) for table in pool.values()])
    ranks = stats.rankdata(-means, axis=0).mean(axis=1)
    return {label: float(rank) for label, rank in zip(pool, ranks, strict=True)}
