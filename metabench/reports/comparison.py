"""Comparisons of two learners, or two runs, as a page and as chapters of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.boards.comparing import PanelComparison
from metabench.reports.chapters import MISSING, Chapter, Sheet
from metabench.reports.pages import pages

NOTES = (
    "Differences are paired: per-seed means over the episodes that both were scored on; intervals "
    "are 95 % t-intervals over seeds.",
    "In distribution p is the test's own; elsewhere it is adjusted over all conditions and levels "
    "(Benjamini and Hochberg).",
)


@dataclass(frozen=True)
class Facet:
    """One comparison, and the half width of its axis: all that is drawn lies within."""

    one: PanelComparison
    reach: float

    def across(self, value: float) -> float:
        """Place of a difference on the axis, in percent of its width."""
        return round(50 + 50 * max(-1.0, min(1.0, value / self.reach)), 2)


def comparison_page(found: Sequence[PanelComparison]) -> str:
    """One self-contained HTML file: verdicts in words, then every paired difference as a dot."""
    facets = [Facet(one, _reach(one)) for one in found]
    return pages().get_template("comparison.html.j2").render(facets=facets, notes=NOTES)


def _reach(one: PanelComparison) -> float:
    """Of the widest interval, and no more than four times the largest difference."""
    differences = [cell.comparison.difference for cell in one.cells]
    largest = max(abs(d.mean) for d in differences)
    ends = [abs(end) for d in differences for end in (d.low, d.high) if end is not None]
    return min(max(ends, default=largest), 4 * largest) or 1.0


def comparison_chapters(found: Sequence[PanelComparison]) -> list[Chapter]:
    """The same as text."""
    return [_chapter(one) for one in found]


def _chapter(one: PanelComparison) -> Chapter:
    panel = one.panel
    rows = []
    for cell in one.cells:
        d = cell.comparison.difference
        span = "one seed" if d.low is None else f"{d.low:+.3f} to {d.high:+.3f}"
        p = [MISSING if v is None else f"{v:.3g}" for v in (cell.comparison.p, cell.adjusted)]
        rows.append([one.where(cell), f"{d.mean:+.3f}", span, *p, cell.verdict])
    titles = ["condition", f"{one.unit} gained", "95 %", "p", "adjusted", f"{one.a} is"]
    sheet = Sheet("Paired differences", titles, rows, list(NOTES))
    title = f"{panel.suite} / {panel.source} ({panel.preset} preset)"
    return Chapter(title, [one.words()], [sheet])
