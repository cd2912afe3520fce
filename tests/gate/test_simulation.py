"""The gate errs as often as docs/ci.md says; there are the large numbers of replicates."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "simulate"


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location(f"simulate_{name}", FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[f"simulate_{name}"] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


simulate = load("gate")
STUDIES = simulate.studies()
ROWS = [simulate.Row(**row) for row in json.loads(simulate.RESULTS.read_text())]
FIGURES = {
    # Seeds -> an unchanged learner passes rule N; a loss of one point is caught by rule S.
    3: (0.39, 0.39),
    5: (0.70, 0.70),
    8: (0.91, 0.91),
    10: (0.96, 0.96),
    20: (1.00, 1.00),
}


def rate(rule: str, world: str, seeds: int) -> float:
    name = f"{rule}, alpha 0.05, 1 conditions"
    (row,) = [r for r in ROWS if (r.procedure, r.world, r.seeds) == (name, world, seeds)]
    return float(row.rate)


def test_the_page_shows_what_was_simulated_and_every_error_is_as_small_as_said() -> None:
    assert simulate.PAGE.read_text() == simulate.page(ROWS)
    assert [r.name for r in ROWS] == [s.name for s in STUDIES]
    assert [r.name for r in ROWS if not r.kept] == []
    capped = [r for r in ROWS if r.high < 0.06]
    assert sorted({r.high for r in capped}) == pytest.approx([0.011, 0.055])
    assert all(r.lower <= r.high / simulate.SLACK for r in capped)
    assert min(r.replicates for r in ROWS) >= 5_000


@pytest.mark.parametrize("seeds", FIGURES)
def test_known_figures_of_both_rules_are_met(seeds: int) -> None:
    passes, caught = FIGURES[seeds]
    assert rate("merge", "0 points lost", seeds) == pytest.approx(passes, abs=0.015)
    assert rate("block", "1 points lost", seeds) == pytest.approx(caught, abs=0.015)


@pytest.mark.parametrize(
    "study", [s for s in STUDIES if "6 cond" in s.procedure or s.seeds == 3], ids=lambda s: s.name
)
def test_the_gate_of_today_errs_no_more(study: simulate.Study) -> None:  # type: ignore[name-defined]
    row = simulate.run(study, 150 * study.cost)
    assert row.kept, f"{row.quantity} {row.rate:.3f} [{row.lower:.3f}, {row.upper:.3f}]"
    (known,) = [r for r in ROWS if r.name == row.name]
    assert row.lower - 0.02 <= known.rate <= row.upper + 0.02


def test_a_baseline_that_stays_finds_small_losses_first_and_errs_less_often() -> None:
    creep = load("gate_creep")
    found = json.loads(creep.RESULTS.read_text())
    assert creep.PAGE.read_text() == creep.page(found)
    known = {(row["loss"], row["way"]): row for row in found}
    assert set(known) == {(loss, way) for loss in creep.LOSSES for way in creep.WAYS}
    assert known[0.0, "fixed"]["alarmed"] < known[0.0, "moving"]["alarmed"]
    for loss in creep.LOSSES[1:]:
        assert known[loss, "fixed"]["median"] < known[loss, "moving"]["median"]
    steep = [0.01 * t for t in range(12)]
    world = -np.array(steep)[:, None] + 0.001 * np.random.default_rng(0).normal(size=(12, 5))
    assert [creep.first_alarm(way, world) for way in ("moving", "fixed")] == [1, 1]
