"""Who is meant, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from metabench.errors import MetabenchError, unknown
from metabench.estimators import Panel
from metabench.records import ORACLE, Record

Unit = Literal["accuracy", "skill"]
ENTRANTS = ("baseline", "control", ORACLE)
"""Families that nobody guards unless told to."""


def choose_learner(panels: Sequence[Panel], name: str | None, where: str) -> str:
    """The learner that is meant: the one named, or the only one that is not there for comparison.

    Raises MetabenchError if that is none or several.
    """
    if name is not None:
        known = {r.key.learner for p in panels for r in p.records}
        labels = {p.label_of(r) for p in panels for r in p.records}
        if name not in known | labels:
            raise MetabenchError(f"{where}: {unknown('learner', name, labels)}")
        variants = {p.label_of(r) for p in panels for r in p.records if r.key.learner == name}
        if name not in labels and len(variants) > 1:
            raise MetabenchError(
                f"{where}: several variants of {name}: {', '.join(sorted(variants))}; name one"
            )
        return name
    found = sorted(
        {r.key.learner for p in panels for r in p.records if r.learner.family not in ENTRANTS}
    )
    if len(found) != 1:
        names = ", ".join(found) or "none but baselines"
        raise MetabenchError(f"{where}: holds {names}; name the learner to guard (--learner)")
    return choose_learner(panels, found[0], where)


def records_of(panel: Panel, learner: str) -> list[Record]:
    """Its cells, by label or by name."""
    own = [r for r in panel.records if panel.label_of(r) == learner]
    return own or [r for r in panel.records if r.key.learner == learner]


def unit_of(panels: Sequence[Panel], wanted: Literal["auto", "accuracy", "skill"]) -> Unit:
    """What differences are in: accuracy where everything is, else skill."""
    squared = [f"{p.suite}/{p.source}" for p in panels if p.protocol.metric != "accuracy"]
    if wanted == "accuracy" and squared:
        raise MetabenchError(
            f"{squared[0]} is scored by squared error, which has no points: gate on skill"
        )
    if wanted == "auto":
        return "skill" if squared else "accuracy"
    return wanted
