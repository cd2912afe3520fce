"""The figures of one panel, in both colour schemes, and what they say in words."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from metabench.boards import PanelBoard
from metabench.estimators import IDENTIFIABLE, levels_of
from metabench.records import IN_DISTRIBUTION, Condition
from metabench.reports.figures import Curve, Line, skill_figure, training_figure
from metabench.reports.palette import LIGHT, Look, Theme, darkened
from metabench.statistics import Interval, format_interval, t_interval


@dataclass(frozen=True)
class Picture:
    """A figure as data URIs. Every text here may come from a record: the page escapes it."""

    title: str
    subtitle: str
    alt: str
    light: str
    dark: str


def skill_pictures(part: PanelBoard, looks: Mapping[str, Look]) -> list[Picture]:
    """Skill against severity, one picture a condition, in the order of the suite."""
    best = "ceiling" if part.panel.protocol.oracle == "declared" else "oracle"
    pictures = []
    for condition in part.panel.protocol.conditions:
        if condition.diagnostic:
            continue
        lines = [
            Line(row.label, curve_points(part.skills, row.label, condition))
            for row in part.rows
            if row.seeds_ok
        ]
        if not any(p is not None for line in lines for p in line.points):
            continue
        ticks = ["ID", *tick_labels(condition)]

        def draw(theme: Theme, lines: list[Line] = lines, ticks: list[str] = ticks) -> str:
            return skill_figure(lines, ticks, looks, best, theme)

        pictures.append(
            picture(condition.name, subtitle(condition), _alt(condition.name, lines), draw)
        )
    return pictures


def training_pictures(part: PanelBoard, looks: Mapping[str, Look]) -> list[Picture]:
    """Meta-loss against meta-step, one picture a learner that kept a log."""
    pictures = []
    for row in part.rows:
        curves = []
        for record in part.panel.records:
            if part.panel.label_of(record) != row.label:
                continue
            points = [(s, v) for s, v in record.training_log if math.isfinite(v)]
            if len(points) > 1:
                curves.append(Curve([s for s, _ in points], [v for _, v in points]))
        if not curves:
            continue
        look = looks[row.label]

        def draw(theme: Theme, curves: list[Curve] = curves, look: Look = look) -> str:
            return training_figure(curves, look, theme)

        alt = f"Meta-loss of {row.label} goes from {curves[0].losses[0]:.3g} to "
        alt += f"{curves[0].losses[-1]:.3g} over {curves[0].steps[-1]} meta-steps (first seed)"
        pictures.append(picture(row.label, _seeds(len(curves)), alt, draw))
    return pictures


def curve_points(skills: pd.DataFrame, label: str, condition: Condition) -> list[Interval | None]:
    """Skill of one learner at level 0, 1, ..., None where it is not identifiable or unknown."""
    own = skills[(skills["label"] == label) & (skills["status"] == IDENTIFIABLE)]
    points: list[Interval | None] = []
    for level in range(levels_of(condition) + 1):
        name = IN_DISTRIBUTION if level == 0 else condition.name
        found = own[(own["condition"] == name) & (own["level"] == level)]["skill"]
        points.append(None if found.empty else t_interval([float(v) for v in found]))
    return points


def tick_labels(condition: Condition) -> list[str]:
    """The physical values of the levels, or one word for a condition that has none."""
    return [f"{v:g}" for v in condition.values] or ["shifted"]


def subtitle(condition: Condition) -> str:
    """What the levels are, with their unit."""
    return f"{condition.title} ({condition.unit})" if condition.unit else condition.title


def _alt(name: str, lines: list[Line]) -> str:
    parts = []
    for line in lines:
        known = [(i, p) for i, p in enumerate(line.points) if p is not None]
        if known:
            (first, start), (last, end) = known[0], known[-1]
            parts.append(
                f"{line.label}: {format_interval(start)} at level {first}, "
                f"{format_interval(end)} at level {last}"
            )
    return f"Skill against {name}. " + "; ".join(parts) + "."


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def picture(title: str, subtitle: str, alt: str, draw: Callable[[Theme], str]) -> Picture:
    """What ``draw`` makes, on light and on dark paper."""
    svg = draw(LIGHT)
    return Picture(title, subtitle, alt, _uri(svg), _uri(darkened(svg)))


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
