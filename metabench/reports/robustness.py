"""The picture of effective robustness: skill elsewhere against skill at home, and the trend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metabench.boards import PanelBoard, Row
from metabench.boards.ranking import UNRANKED
from metabench.estimators.robustness import LEAST_LEARNERS, Trend, trend
from metabench.reports.drawing import Picture, picture
from metabench.reports.figures import SKILL_RANGE, as_svg, blank, styled
from metabench.reports.palette import Look, Theme
from metabench.statistics import Interval, number

SIZE = (3.35, 2.6)
"""Inches."""
MARGIN = 0.15
"""Skill beyond the outermost points."""


@dataclass(frozen=True)
class Spot:
    """A meta-trained learner's skill in distribution, and its mean over the conditions."""

    label: str
    home: Interval
    elsewhere: Interval


def spots(part: PanelBoard) -> list[Spot]:
    """Of all inductive learners that have both; baselines and the oracle define the scale."""
    return [
        Spot(row.label, row.skill, row.ood_skill)
        for row in part.rows
        if _has_part(row) and row.skill is not None and row.ood_skill is not None
    ]


def _has_part(row: Row) -> bool:
    return not row.transductive and row.family not in ("baseline", *UNRANKED)


def robustness_note(part: PanelBoard) -> str | None:
    """Why there is no picture; None where there is one, or nothing to say."""
    if part.panel.settings or all(c.diagnostic for c in part.panel.protocol.conditions):
        return None
    found = spots(part)
    if not found:
        return None
    if len(found) < LEAST_LEARNERS:
        return f"Effective robustness needs {LEAST_LEARNERS} learners; here are {len(found)}."
    line = _line(found)
    return f"Effective robustness: {line}." if isinstance(line, str) else None


def robustness_pictures(part: PanelBoard, looks: Mapping[str, Look]) -> list[Picture]:
    """One picture where there are learners enough for a trend, else none."""
    found = spots(part)
    if len(found) < LEAST_LEARNERS:
        return []
    line = _line(found)
    if isinstance(line, str):
        return []
    above = [s.label for s in found if s.elsewhere.mean > line.intercept + line.slope * s.home.mean]
    alt = (
        f"Mean skill under the suite's conditions against skill in distribution, {len(found)} "
        f"learners. The trend is {number(line.intercept)} + {number(line.slope)} times the skill "
        f"in distribution; above it {'lies' if len(above) == 1 else 'lie'} {', '.join(above)}."
    )

    def draw(theme: Theme) -> str:
        return robustness_figure(found, line, looks, theme)

    return [picture("Skill elsewhere against skill in distribution", "", alt, draw)]


def _line(found: Sequence[Spot]) -> Trend | str:
    import pandas as pd

    home = pd.Series({s.label: s.home.mean for s in found})
    return trend(home, pd.Series({s.label: s.elsewhere.mean for s in found}))


def robustness_figure(
    found: Sequence[Spot], line: Trend, looks: Mapping[str, Look], theme: Theme
) -> str:
    """Points with crosses of 95 % over seeds, the trend, and the diagonal where nothing is lost.

    What lies beyond the range of skill stands at its edge.
    """
    import seaborn as sns

    low, high = SKILL_RANGE
    with styled(theme):
        figure, axes = blank(*SIZE, left=0.66)
        box = axes.get_position()
        lift = 0.22 / SIZE[1]
        axes.set_position((box.x0, box.y0 + lift, box.width, box.height - lift))
        ends = np.array([low, high])
        axes.plot(ends, ends, color=theme.line, linewidth=1.0, zorder=1)
        axes.plot(
            ends, line.intercept + line.slope * ends, color=theme.muted, linewidth=1.8, zorder=2
        )
        for spot in found:
            look = looks[spot.label]
            x, y = (float(np.clip(i.mean, low, high)) for i in (spot.home, spot.elsewhere))
            colour = look.colour(theme)
            axes.errorbar(
                x,
                y,
                xerr=spot.home.half_width or 0.0,
                yerr=spot.elsewhere.half_width or 0.0,
                marker=look.marker,
                color=colour,
                markersize=7,
                elinewidth=1.0,
                zorder=4,
            )
        axes.set_xlim(*_around([s.home.mean for s in found]))
        axes.set_ylim(*_around([s.elsewhere.mean for s in found]))
        axes.set_xlabel("skill in distribution", color=theme.muted)
        axes.set_ylabel("mean skill elsewhere", color=theme.muted)
        axes.grid()
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        sns.despine(figure, left=True, bottom=True)
        return as_svg(figure)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """What an axis shows: all values and 0, within the range of skill."""
    low, high = SKILL_RANGE
    return max(low, min(0.0, *values) - MARGIN), min(high, max(0.0, *values) + MARGIN)
