"""The known-groups matrix: how often each probe flags learners whose fault is known.

Everything goes through the pipeline that scores any learner: suite, plan, cells, records, panel,
probes. A replicate is one board of ``SEEDS`` fresh meta-seeds.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from scipy import stats

from metabench.estimators import panels, probe_table
from metabench.records import Record
from metabench.running.cell import Settings, one_thread, run_cell
from metabench.running.environment import describe
from metabench.running.plan import plan
from metabench.store import Store
from metabench.suite import Suite, load_suite

ZOO = Path(__file__).parent / "zoo.toml"
PRESET, SEEDS = "full", 5
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
COLUMNS = ["label", "probe", "replicate", "mean", "bound", "flagged"]

Progress = Callable[[int, int], None]
"""Called with (replicates done, in all)."""


@dataclass(frozen=True)
class Judgements:
    """What the probes said of each learner in each replicate: the columns ``COLUMNS``."""

    table: pd.DataFrame
    seeds: int
    episodes: int


def judge(learners: Sequence[str], replicate: int, suite: Suite | None = None) -> pd.DataFrame:
    """One replicate: the probes' verdicts over the meta-seeds that belong to it."""
    suite = suite or load_suite(ZOO)
    seeds = range(replicate * SEEDS, (replicate + 1) * SEEDS)
    settings = Settings("cpu", describe(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder, one_thread():
        store = Store(folder)
        store.open()
        cells = plan(list(learners), [suite], PRESET, seeds)
        records = [run_cell(cell, store, settings, lambda _: None) for cell in cells]
        results = store.results(_finished(records))
    (panel,) = panels(results.records, results.episodes)
    table = probe_table(panel)
    level = table["level"].where(table["probe"] == "skill", "").astype(str)
    table["probe"] = (table["probe"] + " " + level).str.strip()
    return table.assign(replicate=replicate)[COLUMNS]


def _finished(records: Iterable[Record]) -> list[Record]:
    kept = list(records)
    for record in kept:
        if record.status != "ok":
            raise RuntimeError(f"{record.key.learner}, seed {record.key.seed}: {record.error}")
    return kept


def known_groups(
    healthy: int = 200, broken: int = 40, workers: int = 1, progress: Progress | None = None
) -> Judgements:
    """Judge the healthy learners in ``healthy`` replicates, the broken ones in ``broken`` of them.

    The result does not depend on the number of workers.
    """
    suite = load_suite(ZOO)
    total, done, parts = max(healthy, broken), 0, {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = {
            pool.submit(
                partial(
                    judge,
                    (HEALTHY[:1] if i < healthy else ()) + (BROKEN if i < broken else ()),
                    i,
                )
            ): i
            for i in range(total)
        }
        for future in as_completed(waiting):
            parts[waiting[future]] = future.result()
            done += 1
            if progress:
                progress(done, total)
    table = pd.concat([parts[i] for i in range(total)], ignore_index=True)
    return Judgements(table, SEEDS, suite.get_preset(PRESET).episodes)


def matrix(judgements: Judgements) -> pd.DataFrame:
    """Control by probe: replicates, value, flags, rate, low, high, wanted, accepted.

    ``value`` is the mean over replicates of the mean over seeds. ``low`` and ``high`` are the
    one-sided 95 % Clopper-Pearson bounds of the rate at which a replicate is flagged; a verdict
    that could not be reached counts as no flag. ``wanted`` is True where the probe must flag,
    False where it must not (the healthy), None elsewhere: there the rate says what else fires.
    """
    rows = []
    for (label, probe), part in judgements.table.groupby(["label", "probe"], sort=False):
        n, flags = len(part), int((part["flagged"] == True).sum())  # noqa: E712
        exact = stats.binomtest(flags, n).proportion_ci(0.90, method="exact")
        wanted: bool | None = None
        if label in DESIGNATED[str(probe)]:
            wanted = True
        elif label in HEALTHY:
            wanted = False
        accepted = None
        if wanted is not None:
            accepted = exact.low >= LEAST_FOUND if wanted else exact.high <= MOST_FALSE
        value = float(part["mean"].astype(float).mean())
        rows.append(
            (label, probe, n, value, flags, flags / n, exact.low, exact.high, wanted, accepted)
        )
    names = ["label", "probe", "replicates", "value", "flags", "rate", "low", "high"]
    return pd.DataFrame(rows, columns=[*names, "wanted", "accepted"])
