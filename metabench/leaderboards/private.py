"""Private episodes on a leaderboard: whose records count, and the gap to the public ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from metabench.errors import MetabenchError, unknown
from metabench.estimators import Panel
from metabench.leaderboards.spec import BoardSpec
from metabench.records import Record
from metabench.statistics import Interval, iqm, t_interval

ALPHA = 0.05


@dataclass(frozen=True)
class Gap:
    """Public less private skill, IQM over the same tasks, paired by meta-seed."""

    interval: Interval
    bound: float | None
    """The one-sided lower 95 % bound; None with a single seed."""
    flagged: bool
    """Whether the bound is above the board's margin."""


def require_committed(spec: BoardSpec, records: list[Record]) -> None:
    """Every salted record belongs to the release's commitment."""
    for record in records:
        if record.key.salt not in ("", spec.private.commitment):
            found = spec.private.commitment[:8] or "none"
            raise MetabenchError(
                f"board {spec.name}: record {record.id} has private episodes of commitment "
                f"{record.key.salt[:8]}; the board's is {found}"
            )


def require_pool(spec: BoardSpec, panels: Iterable[Panel]) -> None:
    """What may be hidden is there."""
    names = {f"{p.suite}/{p.source} {c.name}" for p in panels for c in p.protocol.conditions}
    for name in spec.private.pool:
        if name not in names:
            raise MetabenchError(f"board {spec.name}: private.pool: {unknown('task', name, names)}")


def counted(spec: BoardSpec, scores: pd.DataFrame, secret: bytes | None = None) -> pd.DataFrame:
    """The columns (suite, source, condition) that count in this release."""
    names = ["{}/{} {}".format(*column) for column in scores.columns]
    out = spec.private.left_out(secret)
    return scores.loc[:, [name not in out for name in names]]


def gap(
    spec: BoardSpec, label: str, of_public: pd.DataFrame, of_private: pd.DataFrame
) -> Gap | None:
    """The gap of a learner from all skills by label and seed (rows) and task (columns), both over
    the same levels: one that only public episodes can tell apart would be a gap of its own.

    Over the tasks that both have and the seeds that have all of them; None where there is none.
    """
    if not all(label in t.index.get_level_values("label") for t in (of_public, of_private)):
        return None
    public, private = of_public.loc[label], of_private.loc[label]
    tasks = public.columns.intersection(private.columns)
    one, other = public[tasks].dropna(), private[tasks].dropna()
    seeds = one.index.intersection(other.index)
    if not len(seeds) or not len(tasks):
        return None
    a, b = (t.loc[seeds].to_numpy(np.float64)[:, None, :] for t in (one, other))
    differences = iqm(a) - iqm(b)
    interval = t_interval([float(d) for d in differences])
    if len(seeds) == 1:
        return Gap(interval, None, False)
    error = float(differences.std(ddof=1)) / np.sqrt(len(seeds))
    bound = interval.mean - float(stats.t.ppf(1 - ALPHA, len(seeds) - 1)) * error
    return Gap(interval, bound, bool(bound > spec.gap_margin))
