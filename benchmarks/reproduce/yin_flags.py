"""Which learner the suite's probes call a memoriser on Yin et al.'s sinusoid: MAML or MR-MAML.

    python benchmarks/reproduce/yin_flags.py

The source ``amplitude-cue`` of the suite ``overfitting`` goes through the pipeline that scores any
learner: cells, records, panel, probes; the learners have the settings of the authors' notebooks.
Some fifteen minutes of one core. With METABENCH_REPRODUCE_STORE, a folder, a run goes on where one
was cut short; the seconds of the result are then those of its last part.
"""

from __future__ import annotations

import os
import tempfile
from typing import Literal

import torch
from common import Figure
from exact import Check, Measures, run
from yin_sinusoid import GRADIENT

from metabench.estimators import Panel, panels, probe_table, risk_table
from metabench.records import Budget, Parameter
from metabench.running.cell import Settings, run_cell
from metabench.running.environment import describe
from metabench.running.plan import plan
from metabench.store import Store
from metabench.suite import Suite, load_suite

SOURCE, PRESET = "amplitude-cue", "full"
SEEDS = 5
ITERATIONS = 15_000
LEARNERS: dict[str, dict[str, Parameter]] = {
    "maml": {**GRADIENT},
    "mr-maml": {**GRADIENT, "regulariser": "weights", "beta": 5e-5},
}
RISKS = {"in-distribution": "risk, new tasks", "seen-tasks": "risk, training tasks"}


def suite() -> Suite:
    """The released suite with that source alone, and the length of the notebooks' trainings."""
    released = load_suite("overfitting")
    budget = Budget(tasks=ITERATIONS, steps=ITERATIONS, seconds=7200)
    preset = released.get_preset(PRESET).model_copy(update={"seeds": SEEDS, "budget": budget})
    source = [s for s in released.source if s.name == SOURCE]
    return released.model_copy(update={"source": source, "preset": {PRESET: preset}})


def board() -> Panel:
    """Every learner, baseline and oracle at every meta-seed."""
    settings = Settings("cpu", describe(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as scratch:
        # A folder that stays lets a run that was cut short go on.
        store = Store(os.environ.get("METABENCH_REPRODUCE_STORE", scratch))
        store.open()
        cells = plan(list(LEARNERS), [suite()], PRESET, None, LEARNERS)
        records = [
            store.read(cell.id)
            if store.has(cell.id)
            else run_cell(cell, store, settings, lambda _: None)
            for cell in cells
        ]
        if wrong := [f"{r.key.learner}: {r.error}" for r in records if r.status != "ok"]:
            raise RuntimeError("; ".join(wrong))
        results = store.results(records)
    (panel,) = panels(results.records, results.episodes)
    return panel


def measure(_: int) -> Measures:
    """What the probes say of the board, and the risks it rests on."""
    panel = board()
    values: dict[tuple[str, str], float] = {}
    for row in probe_table(panel).to_dict("records"):
        for what in ("mean", "bound"):
            values[row["label"], f"{row['probe'].upper()}, {what}"] = float(row[what])
    table = risk_table(panel)
    for label in LEARNERS:
        for condition, setting in RISKS.items():
            own = (table["label"] == label) & (table["condition"] == condition)
            values[label, setting] = float(table.loc[own, "risk"].mean())
    return values


CUT = 0.25
"""Of both probes, as the suite declares."""
GATES: dict[tuple[str, str], tuple[Literal["at least", "at most"], float]] = {
    ("maml", "GAP, bound"): ("at least", CUT),
    ("mr-maml", "GAP, bound"): ("at most", CUT),
    ("mr-maml", "SDI, bound"): ("at least", CUT),
}
"""A bound beyond the cut is a flag."""
SETTINGS = (*RISKS.values(), "GAP, mean", "GAP, bound", "SDI, mean", "SDI, bound")
CHECK = Check(
    name="yin_flags",
    title="Memorisation on non-mutually-exclusive sinusoids, flagged",
    unit="mean squared error; GAP and SDI without unit",
    digits=3,
    notes=(
        f"The source `{SOURCE}` of the suite `overfitting` over {SEEDS} meta-seeds, with the "
        f"hyper-parameters of the authors' notebooks and {ITERATIONS:,} tasks of 5 support and 10 "
        "query points, one a step (the notebooks: 10 and 10). GAP is what new tasks cost beyond "
        "those of meta-training, as a share of what there is to gain over ridge; SDI what another "
        "task's support costs, as a share of what it costs the Bayes predictor. *Bound* is the "
        "one-sided 95 % t-bound over meta-seeds, the lower one of GAP and the upper one of SDI: "
        f"GAP flags where it is above {CUT}, SDI where it is below."
    ),
    figures=tuple(
        Figure(learner, setting, gate=GATES.get((learner, setting)))
        for learner in LEARNERS
        for setting in SETTINGS
    ),
    measure=measure,
)

if __name__ == "__main__":
    run(CHECK)
