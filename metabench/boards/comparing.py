"""Two learners, or one learner of two runs, compared panel by panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from metabench.errors import MetabenchError, unknown
from metabench.estimators import Panel, panels
from metabench.records import IN_DISTRIBUTION
from metabench.statistics import (
    Comparison,
    Components,
    benjamini_hochberg,
    components,
    paired,
)
from metabench.store import load_records

CELL = ["condition", "level"]
ALPHA = 0.05


@dataclass(frozen=True)
class Cell:
    """One condition at one level; scores are accuracy, or minus the mean squared error."""

    condition: str
    level: int
    comparison: Comparison
    adjusted: float | None
    """In distribution the p-value itself; elsewhere after Benjamini and Hochberg over all cells."""
    components: Components | None
    """Of the paired differences of episodes; None with one seed."""

    @property
    def verdict(self) -> str:
        """ "ahead", "behind" or "cannot separate"."""
        return self.comparison.verdict(ALPHA, self.adjusted)


@dataclass(frozen=True)
class PanelComparison:
    """``a`` against ``b`` on one suite and source."""

    panel: Panel
    a: str
    b: str
    cells: tuple[Cell, ...]
    """In distribution first."""

    @property
    def unit(self) -> str:
        """What differences are in."""
        return "accuracy" if self.panel.protocol.metric == "accuracy" else "mean squared error"

    def where(self, cell: Cell) -> str:
        """The condition in words, with the value of its level."""
        if cell.condition == IN_DISTRIBUTION:
            return "in distribution"
        (condition,) = (c for c in self.panel.protocol.conditions if c.name == cell.condition)
        if not condition.values:
            return condition.title
        return f"{condition.title} {condition.values[cell.level - 1]:g}{condition.unit}"

    def words(self) -> str:
        """The verdict as one or two sentences: in distribution, then where it differs."""
        first = self.cells[0].comparison.words(self.a, self.b)
        rest: dict[str, list[Cell]] = {}
        for cell in self.cells[1:]:
            if cell.verdict != "cannot separate":
                rest.setdefault(cell.verdict, []).append(cell)
        if not self.cells[1:]:
            return f"In distribution {first}."
        if not rest:
            return f"In distribution {first}. Under no other condition can they be separated."
        found = "; ".join(
            f"{verdict} under {', '.join(self._together(cells))}" for verdict, cells in rest.items()
        )
        return f"In distribution {first}. Elsewhere {self.a} is {found}."

    def _together(self, cells: Sequence[Cell]) -> Iterator[str]:
        """The conditions of some cells in words, the levels of each behind it."""
        for condition in self.panel.protocol.conditions:
            own = [cell for cell in cells if cell.condition == condition.name]
            if 1 < len(own) == len(condition.values):
                yield f"{condition.title} (every level)"
            elif own:
                values = (f"{condition.values[c.level - 1]:g}{condition.unit}" for c in own[1:])
                yield "/".join([self.where(own[0]), *values])


def panels_of(*folders: Path) -> list[Panel]:
    """The panels of some run folders; raises MetabenchError where there are no records."""
    results = load_records(*folders)
    return panels(results.records, results.episodes)


def compare(panel: Panel, a: str, b: str, other: Panel | None = None) -> PanelComparison:
    """Learner ``a`` of ``panel`` against ``b`` of ``other``, by default of the same panel.

    Pairs are seeds, on the episodes that both were scored on. Raises MetabenchError if a label is
    unknown or no seed is shared.
    """
    rows = _paired(panel, a, other or panel, b)
    if rows.empty:
        raise MetabenchError(f"{a} and {b} share no seed on {panel.suite}/{panel.source}")
    found: list[tuple[str, int, Comparison, Components | None]] = []
    for _, part in rows.groupby(CELL, sort=False):
        means = part.groupby("seed")[["a", "b"]].mean()
        # Scores, so that ahead is better: risks the other way round.
        comparison = paired(means["b"].to_numpy(), means["a"].to_numpy())
        where = str(part["condition"].iloc[0]), int(part["level"].iloc[0])
        found.append((*where, comparison, _components(part)))
    elsewhere = [np.nan if c.p is None or n == IN_DISTRIBUTION else c.p for n, _, c, _ in found]
    adjusted = benjamini_hochberg(elsewhere)
    cells = [
        Cell(name, level, c, c.p if name == IN_DISTRIBUTION else _known(p), parts)
        for (name, level, c, parts), p in zip(found, adjusted, strict=True)
    ]
    cells.sort(key=lambda cell: cell.condition != IN_DISTRIBUTION)
    return PanelComparison(panel, a, b, tuple(cells))


def comparisons(found: Sequence[Panel], a: str, b: str) -> Iterator[PanelComparison]:
    """Of every panel that has both; raises MetabenchError if none has, naming the nearest."""
    labels = sorted({label for panel in found for label in panel.labels.values()})
    for name in (a, b):
        if name not in labels:
            raise MetabenchError(unknown("learner", name, labels))
    both = [p for p in found if {a, b} <= set(p.scored["label"])]
    if not both:
        raise MetabenchError(f"no suite has results of both {a} and {b}")
    for panel in both:
        yield compare(panel, a, b)


def between_runs(one: Sequence[Panel], other: Sequence[Panel]) -> Iterator[PanelComparison]:
    """Every learner that both runs have, in the panels whose suite, data and protocol agree."""

    def identity(panel: Panel) -> tuple[object, ...]:
        protocol = panel.records[0].key.protocol
        data = tuple(sorted(panel.data.items()))
        where = panel.suite, panel.source, panel.preset, panel.fingerprint, panel.salt
        return *where, data, protocol

    others = {identity(panel): panel for panel in other}
    shared = [(panel, others[identity(panel)]) for panel in one if identity(panel) in others]
    if not shared:
        raise MetabenchError(
            "the two runs have no suite of the same fingerprint and data in common"
        )
    for panel, twin in shared:
        for label in sorted(set(panel.scored["label"]) & set(twin.scored["label"])):
            yield replace(compare(panel, label, label, twin), b=f"{label} of the second run")


def _known(p: float) -> float | None:
    return None if np.isnan(p) else float(p)


def _paired(one: Panel, a: str, other: Panel, b: str) -> pd.DataFrame:
    """Columns condition, level, seed, episode, a, b: the risks of both on every shared episode."""
    keys = [*CELL, "seed", "episode"]
    left = one.scored.loc[one.scored["label"] == a, [*keys, "risk"]]
    right = other.scored.loc[other.scored["label"] == b, [*keys, "risk"]]
    return left.rename(columns={"risk": "a"}).merge(right.rename(columns={"risk": "b"}), on=keys)


def _components(part: pd.DataFrame) -> Components | None:
    wide = (part["b"] - part["a"]).groupby([part["seed"], part["episode"]]).first().unstack()
    wide = wide.dropna(axis="columns")
    return components(wide.to_numpy(np.float64)) if min(wide.shape) > 1 else None
