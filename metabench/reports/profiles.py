"""What is known of each learner by itself: where it does well, where not, and what it is."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from metabench.boards import Board, PanelBoard, Row
from metabench.estimators import ESTIMATORS, IDENTIFIABLE
from metabench.records import IN_DISTRIBUTION, ORACLE, Record
from metabench.reports.drawing import subtitle
from metabench.statistics import Interval, t_interval


@dataclass(frozen=True)
class Dot:
    """Skill under one condition: each seed's mean over the identifiable levels."""

    condition: str
    title: str
    skill: Interval


@dataclass(frozen=True)
class Probed:
    """A probe's verdict on one learner."""

    title: str
    where: str
    mean: float
    limit: str
    flagged: bool | None
    reason: str


@dataclass(frozen=True)
class Source:
    """One panel's part of a profile."""

    part: PanelBoard
    row: Row
    dots: list[Dot]
    probes: list[Probed]
    record: Record

    @property
    def parameters(self) -> str:
        """The hyper-parameters it ran with."""
        return ", ".join(f"{k} = {v}" for k, v in self.record.key.parameters.items())


@dataclass(frozen=True)
class Profile:
    """One learner."""

    label: str
    family: str
    sources: list[Source]

    @property
    def flags(self) -> int:
        """How many probes fired."""
        return sum(len(source.row.flags) for source in self.sources)


def profiles(board: Board) -> list[Profile]:
    """Of every learner but the oracle, by name; references last."""
    found: dict[str, list[Source]] = {}
    families: dict[str, str] = {}
    for part in board.panels:
        first = {part.panel.label_of(r): r for r in reversed(part.panel.records)}
        for row in part.rows:
            if row.family == ORACLE:
                continue
            families[row.label] = row.family
            found.setdefault(row.label, []).append(
                Source(
                    part, row, _dots(part, row.label), _probes(part, row.label), first[row.label]
                )
            )
    order = sorted(found, key=lambda label: (families[label] in ("baseline", "control"), label))
    return [Profile(label, families[label], found[label]) for label in order]


def _dots(part: PanelBoard, label: str) -> list[Dot]:
    own = part.skills[(part.skills["label"] == label) & (part.skills["status"] == IDENTIFIABLE)]
    seeds = own.groupby(["condition", "seed"])["skill"].mean()
    titles = {IN_DISTRIBUTION: ""}
    titles |= {c.name: subtitle(c) for c in part.panel.protocol.conditions if not c.diagnostic}
    known = set(seeds.index.get_level_values("condition"))
    return [
        Dot(name, title, t_interval([float(v) for v in seeds.loc[name]]))
        for name, title in titles.items()
        if name in known
    ]


def _probes(part: PanelBoard, label: str) -> list[Probed]:
    own: pd.DataFrame = part.probes[(part.probes["label"] == label) & (part.probes["seeds"] > 0)]
    return [
        Probed(
            ESTIMATORS.get(row["probe"]).title,
            f"{row['condition']} {row['level']}" if row["level"] else str(row["condition"]),
            float(row["mean"]),
            f"{row['flag']} {row['threshold']:g}",
            row["flagged"],
            str(row["reason"]),
        )
        for row in own.to_dict("records")
    ]
