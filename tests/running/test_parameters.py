"""How many numbers a learner learns is counted, not claimed."""

from __future__ import annotations

from pathlib import Path

import metabench
from metabench.learners import LEARNERS
from metabench.records import Record
from metabench.running.cell import learnable, new_learner
from metabench.running.plan import plan
from tests.conftest import CPU


def test_records_count_the_learnable_numbers(tiny: Path, tmp_path: Path) -> None:
    results = metabench.run(["maml", "narrow-bayes"], tiny, out=tmp_path, workers=0)
    counted = {r.key.learner: r.learner.parameters for r in results.records}
    (cell,) = [c for c in plan(["maml"], [tiny], "smoke", 1) if c.learner is LEARNERS.get("maml")]
    state = new_learner(cell, CPU).state_dict()
    weights = [t.numel() for name, t in state.items() if name.startswith("parameters/")]
    assert counted["maml"] == sum(weights) > 0
    assert counted["narrow-bayes"] == counted["nearest-neighbour"] == 0
    assert counted["oracle"] is None


def test_a_learner_that_keeps_its_state_elsewhere_is_counted_by_its_state() -> None:
    memory = LEARNERS.get("fixed-label-map")()
    assert learnable(memory) == 1, "one blank image of one pixel; its label is no number to learn"


def test_records_from_before_load_without_a_count(tiny: Path, tmp_path: Path) -> None:
    (record, *_) = metabench.run("narrow-bayes", tiny, out=tmp_path, workers=0).records
    old = record.model_dump(mode="json")
    del old["learner"]["parameters"], old["key"]["salt"]
    assert Record.model_validate(old).learner.parameters is None
    assert Record.model_validate(old).key.id == record.id
