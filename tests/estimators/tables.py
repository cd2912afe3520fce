"""Panels from numbers: episode tables with chosen values, and records where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metabench.estimators import Panel
from metabench.records import IN_DISTRIBUTION, Condition, Record
from tests.factories import BASE, Learner, make_protocol, make_record

METRICS = ("mse", "accuracy")


def role(name: str, *values: float, title: str = "") -> Condition:
    """A condition whose name is not its role."""
    return Condition(name=f"my {name}", title=title, role=name, values=list(values))


def rows(
    label: str | Sequence[str],
    condition: str,
    values: ArrayLike,
    *,
    seed: int | Sequence[int] = 0,
    level: int | None = None,
    metric: str = "mse",
) -> pd.DataFrame:
    """Values [E] of one label and seed, or [n, E] of n of them; level 0 in distribution, else 1."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    n, episodes = table.shape
    labels = [label] * n if isinstance(label, str) else list(label)
    value = table.ravel()
    risk = 1 - value if metric == "accuracy" else value
    return pd.DataFrame(
        {
            "label": np.repeat(labels, episodes),
            "condition": condition,
            "level": int(condition != IN_DISTRIBUTION) if level is None else level,
            "seed": np.repeat(np.broadcast_to(seed, n), episodes),
            "checkpoint": 100,
            "episode": np.tile(np.arange(episodes), n),
            "metric": metric,
            "value": value,
            "risk": risk if metric in METRICS else np.nan,
        }
    )


def panel_of(
    *parts: pd.DataFrame,
    conditions: Sequence[Condition],
    records: Sequence[Record] | None = None,
    **protocol: object,
) -> Panel:
    """Its only record is that of the baseline ``ridge`` unless there are others."""
    known = make_protocol(conditions=list(conditions), **protocol)
    own = [make_record(BASE, protocol=known)] if records is None else list(records)
    table = pd.concat(parts, ignore_index=True)
    return Panel(
        suite="toy",
        source="toys",
        preset="standard",
        fingerprint="0123456789abcdef",
        data={},
        protocol=known,
        records=own,
        labels={r.id: r.key.learner for r in own},
        rows=table,
        history=table,
    )


def record_of(name: str, seed: int = 0, family: str = "metric", **changes: object) -> Record:
    """The record of a learner, or of the baseline ``ridge``."""
    learner = BASE if name == BASE.name else Learner(name, family=family)
    return make_record(learner, seed, **changes)  # type: ignore[arg-type]


def value_of(table: pd.DataFrame, label: str, **where: object) -> float:
    """The one value of a label there."""
    found = table[table["label"] == label]
    for column, wanted in where.items():
        found = found[found[column] == wanted]
    return float(found["value"].item())
