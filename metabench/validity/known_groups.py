"""Known groups: how often each probe flags learners whose fault is known, and healthy ones.

Everything goes through the pipeline that scores any learner: suite, plan, cells, records, panel,
probes. A replicate is one board of fresh meta-seeds, as many as the suite's preset has.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from scipy import stats

from metabench.estimators import Panel, panels, probe_table
from metabench.records import Record
from metabench.running.cell import Settings, one_thread, run_cell
from metabench.running.environment import describe
from metabench.running.plan import LearnerChoice, plan
from metabench.store import Store
from metabench.suite import Suite, load_suite

ZOO = Path(__file__).parent / "zoo.toml"
PRESET = "full"
HEALTHY = ("broad-bayes", "fourier-ridge")
BROKEN = ("narrow-bayes", "memorizer", "support-ignorer", "brittle-interpolator")
DESIGNATED: dict[str, tuple[str, ...]] = {
    "skill 2": ("narrow-bayes", "memorizer", "support-ignorer"),
    "skill 5": ("narrow-bayes", "memorizer", "support-ignorer"),
    "sdi": ("support-ignorer",),
    "gap": ("memorizer",),
    "d-index": ("memorizer",),
    "brittleness": ("brittle-interpolator",),
}
"""Probe -> the controls that it must flag."""
MOST_FALSE, LEAST_FOUND = 0.05, 0.90
"""Upper bound of a false alarm rate, and lower bound of a detection rate, that are accepted."""
LEVEL = 0.05
"""Of the flag rule: how often it flags what is exactly at the threshold."""
COLUMNS = ["label", "probe", "replicate", "mean", "bound", "flagged"]

Progress = Callable[[int, int], None]
"""Called with (replicates done, in all)."""


@dataclass(frozen=True)
class Group:
    """Learners that the probes of one suite are to tell apart."""

    name: str
    suite: Path
    healthy: tuple[LearnerChoice, ...]
    broken: tuple[LearnerChoice, ...] = ()
    designated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Probe -> the learners that it must flag."""
    baselines: tuple[str, ...] = ()
    """Of the suite, that count as healthy."""
    most: int = 200
    """Replicates of the healthy that are affordable."""
    null: bool = False
    """Whether nothing happens here, so that flags come as often as the rule's level allows."""

    @property
    def spared(self) -> tuple[str, ...]:
        """The names of all that no probe may flag."""
        return (*map(name_of, self.healthy), *self.baselines)


def name_of(learner: LearnerChoice) -> str:
    """Of a learner that may be a class."""
    return learner if isinstance(learner, str) else learner.card.name


KNOWN = Group("known-groups", ZOO, HEALTHY[:1], BROKEN, DESIGNATED, HEALTHY[1:])


@dataclass(frozen=True)
class Judgements:
    """What the probes said of each learner in each replicate: the columns ``COLUMNS``."""

    table: pd.DataFrame
    group: Group = KNOWN


def judge(
    learners: Sequence[LearnerChoice], replicate: int, suite: Suite | None = None
) -> pd.DataFrame:
    """One replicate: the probes' verdicts over the meta-seeds that belong to it."""
    suite = suite or load_suite(ZOO)
    count = suite.get_preset(PRESET).seeds
    seeds = range(replicate * count, (replicate + 1) * count)
    settings = Settings("cpu", describe(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder, one_thread():
        store = Store(folder)
        store.open()
        cells = plan(list(learners), [suite], PRESET, seeds)
        records = [run_cell(cell, store, settings, lambda _: None) for cell in cells]
        results = store.results(_finished(records))
    found = panels(results.records, results.episodes)
    tables = [
        table.assign(probe=_names(table, panel), replicate=replicate)[COLUMNS]
        for panel in found
        if panel.protocol.probes
        for table in [probe_table(panel)]
    ]
    return pd.concat(tables, ignore_index=True)


def _names(table: pd.DataFrame, panel: Panel) -> list[str]:
    """What each row's probe is called: the estimator, and the level's value where it has one."""
    values = {
        (p.estimator, c.name, p.level): f"{p.estimator} {c.values[p.level - 1]:g}"
        for p in panel.protocol.probes
        for c in panel.protocol.conditions
        if p.condition == c.name and p.level
    }
    keys = zip(table["probe"], table["condition"], table["level"], strict=True)
    return [values.get(key, key[0]) for key in keys]


def _finished(records: Iterable[Record]) -> list[Record]:
    kept = list(records)
    for record in kept:
        if not record.measured:
            raise RuntimeError(f"{record.key.learner}, seed {record.key.seed}: {record.error}")
    return kept


def study(
    groups: Sequence[Group],
    healthy: int = 200,
    broken: int = 40,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Judgements]:
    """Judge healthy learners in ``healthy`` replicates, the broken ones in ``broken`` of them.

    A group may have fewer of the healthy. The result does not depend on the number of workers.
    """
    jobs = [
        (group, (*group.healthy * (i < spared), *group.broken * (i < broken)), i)
        for group in groups
        for spared in [min(healthy, group.most) if group.healthy else 0]
        for i in range(max(spared, broken if group.broken else 0))
    ]
    parts: dict[int, pd.DataFrame] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = {
            pool.submit(_judge, learners, i, group.suite): number
            for number, (group, learners, i) in enumerate(jobs)
        }
        for future in as_completed(waiting):
            parts[waiting[future]] = future.result()
            if progress:
                progress(len(parts), len(jobs))
    return [
        Judgements(pd.concat([parts[n] for n, job in enumerate(jobs) if job[0] is group]), group)
        for group in groups
    ]


def _judge(learners: tuple[LearnerChoice, ...], replicate: int, suite: Path) -> pd.DataFrame:
    return judge(learners, replicate, load_suite(suite))


def matrix(judgements: Judgements) -> pd.DataFrame:
    """Control by probe: group, label, probe, replicates, value, flags, rate, low, high, wanted,
    accepted.

    ``value`` is the mean over replicates of the mean over seeds. ``low`` and ``high`` are the
    one-sided 95 % Clopper-Pearson bounds of the rate at which a replicate is flagged; a verdict
    that could not be reached counts as no flag. ``wanted`` is True where the probe must flag,
    False where it must not (the healthy), None elsewhere: there the rate says what else fires.
    Where nothing happens a rate is accepted unless it is proved to be above the rule's level.
    A learner to which a probe never applies has no row, unless the probe must flag it.
    """
    group, rows = judgements.group, []
    for (label, probe), part in judgements.table.groupby(["label", "probe"], sort=False):
        n, flags = len(part), int((part["flagged"] == True).sum())  # noqa: E712
        exact = stats.binomtest(flags, n).proportion_ci(0.90, method="exact")
        wanted: bool | None = None
        if label in group.designated.get(str(probe), ()):
            wanted = True
        elif part["mean"].isna().all():
            continue
        elif label in group.spared:
            wanted = False
        accepted = None
        if wanted is not None:
            accepted = exact.low >= LEAST_FOUND if wanted else exact.high <= MOST_FALSE
        if group.null and wanted is False:
            accepted = exact.low <= LEVEL
        value = float(part["mean"].astype(float).mean())
        where = (group.name, label, probe, n, value)
        rows.append((*where, flags, flags / n, exact.low, exact.high, wanted, accepted))
    names = ["group", "label", "probe", "replicates", "value", "flags", "rate", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "wanted", "accepted"])
