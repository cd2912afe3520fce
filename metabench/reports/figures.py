"""Figures as SVG text, one facet a file, so that a page can arrange them to its width.

The text of a figure is only numbers and our own words; names come from the page, where they are
escaped.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.reports.palette import Look, Theme
from metabench.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SKILL_RANGE = (-1.2, 1.15)
"""Skill below or above is drawn as an arrow at the edge."""

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Line:
    """Skill of one learner by level: None where it is unidentifiable or unknown."""

    label: str
    points: Sequence[Interval | None]


@contextmanager
def styled(theme: Theme) -> Iterator[None]:
    """Inside it, matplotlib draws with our font, ink and grid."""
    import matplotlib as mpl
    import seaborn as sns

    ours: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "metabench",
        "text.parse_math": False,
        "font.size": 8,
        # The font that sizes the figure ships with matplotlib: the same on every machine.
        "font.family": ["DejaVu Sans"],
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.edgecolor": theme.zero,
        "axes.linewidth": 0.8,
        "axes.unicode_minus": True,
        "text.color": theme.ink,
        "xtick.color": theme.zero,
        "ytick.color": theme.zero,
        "xtick.labelcolor": theme.muted,
        "ytick.labelcolor": theme.muted,
        "axes.labelcolor": theme.muted,
        "grid.color": theme.line,
        "grid.linewidth": 0.8,
    }
    with sns.axes_style("ticks"), mpl.rc_context(ours):
        yield


def blank(width: float, height: float, left: float) -> tuple[Figure, Axes]:
    """A figure in inches whose axes are at the same place whatever the labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    bottom = 0.22 / height
    return figure, figure.add_axes((left / width, bottom, 1 - (left + 0.06) / width, 0.98 - bottom))


def as_svg(figure: Figure) -> str:
    """SVG of the figure: no date, no program name, and the reader's own font."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing, transparent=True)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: ;", out.getvalue())
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONTS}", text)
    return text[text.index("<svg") :]


def skill_figure(
    lines: Sequence[Line], ticks: Sequence[str], looks: Mapping[str, Look], best: str, theme: Theme
) -> str:
    """Skill against severity, one line a learner with its t-band over seeds.

    ``ticks`` names the levels, level 0 first; ``best`` what skill 1 stands for. A level
    without identifiable skill breaks the line.
    """
    import seaborn as sns

    low, high = SKILL_RANGE
    with styled(theme):
        figure, axes = blank(3.35, 2.3, left=0.66)
        _frame(axes, best, theme)
        outside: dict[tuple[int, bool], list[str]] = {}
        for line in sorted(lines, key=lambda part: not looks[part.label].reference):
            colour = looks[line.label].colour(theme)
            _draw_line(axes, line, looks[line.label], theme)
            for level, point in enumerate(line.points):
                if point is not None and not low <= point.mean <= high:
                    outside.setdefault((level, point.mean > high), []).append(colour)
        _arrows(axes, outside)
        axes.set_xlim(-0.25, len(ticks) - 0.75)
        axes.set_xticks(range(len(ticks)), ticks)
        sns.despine(figure, left=True, bottom=False)
        axes.tick_params(axis="y", length=0)
        return as_svg(figure)


def _frame(axes: Axes, best: str, theme: Theme) -> None:
    axes.set_ylim(*SKILL_RANGE)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1], ["−1", "−½", "no-meta\nbaseline 0", "½", f"{best} 1"])
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.axhline(0, color=theme.zero, linewidth=1.3, zorder=1)
    axes.axhline(1, color=theme.zero, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)


def _draw_line(axes: Axes, line: Line, look: Look, theme: Theme) -> None:
    levels = np.arange(len(line.points))
    mean = _values([None if p is None else p.mean for p in line.points])
    low = _values([None if p is None else p.low for p in line.points])
    high = _values([None if p is None else p.high for p in line.points])
    colour = look.colour(theme)
    if not np.isnan(low).all() and not look.reference:
        axes.fill_between(levels, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(
        levels,
        mean,
        color=colour,
        linewidth=1.3 if look.reference else 1.9,
        linestyle=(0, look.dashes) if look.dashes else "-",
        marker=look.marker,
        markersize=3.6 if look.reference else 5,
        markeredgewidth=0,
        zorder=3 if look.reference else 4,
    )


def _values(values: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _arrows(axes: Axes, outside: Mapping[tuple[int, bool], Sequence[str]]) -> None:
    """Triangles at the edge, side by side, for what lies beyond it."""
    low, high = SKILL_RANGE
    for (level, above), colours in outside.items():
        offsets = (np.arange(len(colours)) - (len(colours) - 1) / 2) * 0.17
        axes.scatter(
            level + offsets,
            [high - 0.045 if above else low + 0.045] * len(colours),
            marker="^" if above else "v",
            c=list(colours),
            s=22,
            linewidths=0,
            zorder=6,
            clip_on=False,
        )


@dataclass(frozen=True)
class Curve:
    """Meta-loss of one seed: steps and finite losses of equal length."""

    steps: Sequence[float]
    losses: Sequence[float]


def training_figure(curves: Sequence[Curve], look: Look, theme: Theme) -> str:
    """Meta-loss against meta-step, one line a seed; logarithmic if the losses allow it."""
    import seaborn as sns
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    with styled(theme):
        figure, axes = blank(2.7, 1.5, left=0.42)
        for curve in curves:
            axes.plot(
                curve.steps, curve.losses, color=look.colour(theme), linewidth=1.2, alpha=0.75
            )
        losses = [v for c in curves for v in c.losses]
        if losses and min(losses) > 0 and max(losses) > 8 * min(losses):
            decades = max(losses) / min(losses) > 100
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 3), numticks=6))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", which="both", length=0)
        sns.despine(figure, left=True)
        return as_svg(figure)


def thousands(value: float, _: object) -> str:
    """A tick label: ``2k`` for 2000."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
