"""The picture of over-optimisation: the proxy keeps improving, the gold curve turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metabench.boards import PanelBoard
from metabench.estimators import Panel
from metabench.estimators.goodhart import TURN, course, turnover_table
from metabench.reports.drawing import Picture, picture
from metabench.reports.figures import as_svg, blank, styled, thousands
from metabench.reports.palette import Look, Theme
from metabench.statistics import Interval, format_interval, t_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FACET = (3.35, 2.1)
"""Inches."""
LEFT, RIGHT = 0.42, 0.86
"""Inches beside the axes: numbers on one side, the lines' names on the other."""
APART = 0.2
"""Least distance of two names, as a share of the axes' height."""


@dataclass(frozen=True)
class Course:
    """Risk along meta-training, over seeds, at ``steps`` 0, ...; ``turnover`` is T."""

    steps: Sequence[int]
    proxy: Sequence[Interval]
    gold: Sequence[Interval]
    turnover: Interval | None

    @property
    def best(self) -> int:
        """Index of the checkpoint with the least mean gold risk."""
        return int(np.argmin([point.mean for point in self.gold]))

    @property
    def turns(self) -> bool:
        """Whether the mean of T is above the least that counts as a turn."""
        return self.turnover is not None and self.turnover.mean > TURN

    @property
    def top(self) -> float:
        """The largest mean risk."""
        return max(point.mean for point in (*self.proxy, *self.gold))


def courses(panel: Panel) -> dict[str, Course]:
    """Label -> its course, over the checkpoints that all of its seeds have; three or more."""
    found = {}
    turnovers = turnover_table(panel).dropna()
    for label, rows in course(panel).dropna(subset=["proxy", "gold"]).groupby("label"):
        tables = {
            name: rows.pivot_table(index="checkpoint", columns="seed", values=name).dropna()
            for name in ("proxy", "gold")
        }
        if len(tables["gold"]) < 3:
            continue
        own = [float(v) for v in turnovers.loc[turnovers["label"] == label, "value"]]
        proxy, gold = (
            [t_interval(list(point)) for point in table.to_numpy(np.float64)]
            for table in tables.values()
        )
        steps = [int(str(step)) for step in tables["gold"].index]
        found[str(label)] = Course(steps, proxy, gold, t_interval(own) if own else None)
    return found


def overoptimisation_pictures(part: PanelBoard, looks: Mapping[str, Look]) -> list[Picture]:
    """One picture a learner that has checkpoints and seen tasks, all to one scale."""
    found = courses(part.panel)
    top = max((one.top for one in found.values()), default=0.0)
    pictures = []
    for row in part.rows:
        if row.label not in found:
            continue
        one, look = found[row.label], looks[row.label]

        def draw(theme: Theme, one: Course = one, look: Look = look) -> str:
            return overoptimisation_figure(one, look, theme, top)

        lost = "" if one.turnover is None else f"T = {format_interval(one.turnover)}"
        pictures.append(picture(row.label, lost, _alt(row.label, one), draw))
    return pictures


def overoptimisation_figure(one: Course, look: Look, theme: Theme, top: float) -> str:
    """Risk on new tasks (gold, full line) and on the tasks of meta-training (proxy, dashed).

    Bands are t-intervals over seeds. Where the gold turned, what it lost again since its best
    checkpoint is filled. ``top`` is the largest risk of all facets.
    """
    import seaborn as sns
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    colour = look.colour(theme)
    with styled(theme):
        figure, axes = blank(*FACET, left=LEFT)
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, box.width - RIGHT / FACET[0], box.height))
        steps = np.asarray(one.steps, dtype=np.float64)
        _curve(axes, steps, one.proxy, theme.muted, (0, (3.0, 1.6)), 1.6)
        _curve(axes, steps, one.gold, colour, "-", 2.4)
        if one.turns:
            _lost(axes, steps, one, colour, theme)
        axes.set_xscale("symlog", linthresh=1, linscale=0.5)
        axes.set_xlim(0, steps[-1])
        axes.set_ylim(0, 1.08 * top)
        decades = [10.0**k for k in range(1, 9) if 10**k <= steps[-1]]
        axes.xaxis.set_major_locator(FixedLocator([0, *decades]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        _names(axes, one, colour, theme, 1.08 * top)
        sns.despine(figure, left=True)
        return as_svg(figure)


def _curve(
    axes: Axes,
    steps: NDArray[np.float64],
    points: Sequence[Interval],
    colour: str,
    dashes: str | tuple[float, tuple[float, ...]],
    width: float,
) -> None:
    mean = [p.mean for p in points]
    if points[0].low is not None:
        low = [p.low or 0.0 for p in points]
        high = [p.high or 0.0 for p in points]
        axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(steps, mean, color=colour, linewidth=width, linestyle=dashes, zorder=4)


def _lost(axes: Axes, steps: NDArray[np.float64], one: Course, colour: str, theme: Theme) -> None:
    """The best checkpoint, its level to the end, and what lies above it."""
    best = one.best
    gold = np.array([p.mean for p in one.gold])
    axes.fill_between(
        steps[best:], gold[best], gold[best:], color=colour, alpha=0.3, linewidth=0, zorder=3
    )
    axes.plot(
        steps[best:],
        np.full(len(steps) - best, gold[best]),
        color=colour,
        linewidth=0.9,
        linestyle=(0, (1, 1.5)),
        zorder=3,
    )
    axes.plot(
        steps[best],
        gold[best],
        marker="o",
        markersize=6.5,
        color=colour,
        zorder=6,
        markeredgecolor=theme.ink,
        markeredgewidth=0.9,
    )
    axes.annotate(
        "best",
        (steps[best], gold[best]),
        xytext=(5, -5),
        textcoords="offset points",
        ha="left",
        va="top",
        color=theme.ink,
    )


def _names(axes: Axes, one: Course, colour: str, theme: Theme, height: float) -> None:
    """The lines' names at their ends, apart where the ends are close."""
    gold = "new tasks:\n" + ("lost again" if one.turns else "kept")
    names = [
        (one.gold[-1].mean, gold, colour),
        (one.proxy[-1].mean, "training\ntasks", theme.muted),
    ]
    (high, *above), (low, *below) = sorted(names, key=lambda name: name[0], reverse=True)
    low, high = places_apart(low / height, high / height)
    at_edge: Any = {
        "textcoords": "offset points",
        "color": theme.muted,
        "xycoords": "axes fraction",
    }
    # To the right of the last tick's label.
    axes.annotate("meta-steps", (1, 0), xytext=(13, -5.5), va="top", **at_edge)
    axes.annotate("risk", (0, 1), xytext=(-5, 0), va="top", ha="right", **at_edge)
    for y, (text, ink) in ((high, above), (low, below)):
        axes.annotate(
            text,
            (1, y),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=ink,
            fontweight="bold" if ink == colour else "normal",
        )


def places_apart(low: float, high: float) -> tuple[float, float]:
    """Places of two names, shares of the axes' height: apart, and the lower one above the axis."""
    missing = max(0.0, APART - (high - low)) / 2
    low, high = low - missing, high + missing
    lifted = max(0.0, APART / 2 - low)
    return low + lifted, max(high, low + lifted + APART)


def _alt(label: str, one: Course) -> str:
    gold, proxy = one.gold, one.proxy
    alt = (
        f"Risk of {label} along {one.steps[-1]} meta-steps. On the tasks of meta-training it goes "
        f"from {format_interval(proxy[0])} to {format_interval(proxy[-1])}; on new tasks from "
        f"{format_interval(gold[0])} to {format_interval(gold[one.best])} at step "
        f"{one.steps[one.best]} and {format_interval(gold[-1])} at the end."
    )
    return alt
