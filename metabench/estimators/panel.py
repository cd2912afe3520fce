"""Panels: groups of records whose numbers may stand in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from metabench.estimators.labels import labels
from metabench.records import Condition, Protocol, Record


@dataclass(frozen=True)
class Panel:
    """Cells of one suite, source, preset, fingerprint, data and salt.

    ``rows`` is their episode table after meta-training, with a column ``label`` (the learner as the
    table names it) and a column ``risk``: 1 - accuracy, or the squared error; NaN for other
    metrics. ``history`` has the same columns and the checkpoints before as well.
    """

    suite: str
    source: str
    preset: str
    fingerprint: str
    data: dict[str, str]
    protocol: Protocol
    records: list[Record]
    labels: dict[str, str]
    """Record id -> label."""
    rows: pd.DataFrame
    history: pd.DataFrame
    settings: list[Record] = field(default_factory=list)
    """Of a design over a learner's knobs, which has the defaults among ``records``."""
    setting_rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Their episode table after meta-training, with the columns of ``rows``."""
    siblings: tuple[Panel, ...] = field(default=(), repr=False)
    """The panels of the suite's other sources."""
    salt: str = ""
    """Commitment of the secret of private episodes; empty for public ones."""

    @property
    def scored(self) -> pd.DataFrame:
        """The rows of the protocol's metric, which have a risk."""
        return self.rows[self.rows["risk"].notna()]

    def label_of(self, record: Record) -> str:
        """The learner's name; with the parameters that differ, if it is there more than once."""
        return self.labels[record.id]


def levels_of(condition: Condition) -> int:
    """How many levels a condition has; one without values has a single level."""
    return max(1, len(condition.values))


def panels(records: Sequence[Record], episodes: pd.DataFrame) -> list[Panel]:
    """Group records; different fingerprints, presets, data, protocols or salts never share a panel.

    ``episodes`` is the records' episode table with the column ``record``.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = record.key
        data = json.dumps(key.data, sort_keys=True)
        where = (
            key.suite,
            key.source,
            key.preset,
            key.fingerprint,
            data,
            str(key.protocol),
            key.salt,
        )
        groups.setdefault(where, []).append(record)
    found = [_panel(group, episodes) for _, group in sorted(groups.items())]
    return [replace(one, siblings=_siblings(one, found)) for one in found]


def _siblings(one: Panel, found: Sequence[Panel]) -> tuple[Panel, ...]:
    def run(panel: Panel) -> tuple[str, str, str, int, str]:
        key = panel.records[0].key
        return key.suite, key.preset, key.fingerprint, key.protocol, key.salt

    return tuple(p for p in found if p.source != one.source and run(p) == run(one))


def _panel(records: list[Record], episodes: pd.DataFrame) -> Panel:
    names = labels(sorted(records, key=lambda r: r.id))
    records = sorted(records, key=lambda r: (names[r.id], r.key.seed, r.id))
    first = records[0]
    rows = episodes[episodes["record"].isin(names)]
    value = rows["value"].astype(float)
    risk = 1 - value if first.protocol.metric == "accuracy" else value
    risk = risk.where(rows["metric"] == first.protocol.metric)
    rows = rows.assign(label=rows["record"].map(names), risk=risk)
    last = rows["checkpoint"] == rows.groupby("record")["checkpoint"].transform("max")
    settings = [r for r in records if r.learner.point is not None]
    of_setting = rows["record"].isin([r.id for r in settings])
    return Panel(
        suite=first.key.suite,
        source=first.key.source,
        preset=first.key.preset,
        fingerprint=first.key.fingerprint,
        data=first.key.data,
        salt=first.key.salt,
        protocol=first.protocol,
        records=[r for r in records if r.learner.point is None],
        labels=names,
        rows=rows[last & ~of_setting],
        history=rows[~of_setting],
        settings=settings,
        setting_rows=rows[last & of_setting],
    )
