"""Designs over a learner's knobs: which settings are planned, and what a diverged one is."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metabench
from metabench.errors import MetabenchError
from metabench.learners import LEARNERS
from metabench.records import Knob
from metabench.running.design import settings, value_of
from metabench.running.plan import Cell, plan
from metabench.suite import load_suite

CLOSED = Path(__file__).parents[1] / "data" / "settings"
MAML = LEARNERS.get("maml")
Parameters = dict[str, Any]


def turned(cells: list[Cell], learner: str) -> list[Cell]:
    return [c for c in cells if c.key.learner == learner and c.point is not None]


def test_every_source_and_seed_gets_the_defaults_and_the_same_settings() -> None:
    cells = plan(["maml"], [CLOSED], "smoke")
    assert cells == plan(["maml"], [CLOSED], "smoke")
    mine = [c for c in cells if c.key.learner == "maml"]
    places = Counter((c.key.source, c.key.seed) for c in mine)
    assert set(places) == {(s, j) for s in ("narrow", "wide") for j in (0, 1)}
    assert set(places.values()) == {17}
    by_point: dict[int | None, set[str]] = {}
    for cell in mine:
        by_point.setdefault(cell.point, set()).add(str(cell.key.parameters))
    assert all(len(parameters) == 1 for parameters in by_point.values())
    assert len({c.training for c in mine}) == len(mine)


def test_baselines_and_the_oracle_run_as_they_are() -> None:
    cells = plan(["idle-knob"], [CLOSED], "few")
    others = Counter(c.key.learner for c in cells if c.key.learner != "idle-knob")
    assert others == {"ridge": 2, "oracle": 2}
    assert all(not c.knobs for c in cells if c.key.learner != "idle-knob")


def test_settings_fill_the_prior_evenly() -> None:
    """Of 64 Sobol points of a rate over two decades a half lies in each."""
    found = settings(MAML, "regression", (), 64)
    rates = np.array([s["inner_lr"] for s in found], dtype=float)
    assert ((rates >= 1e-3) & (rates <= 0.1)).all()
    assert (rates < 0.01).sum() == 32
    steps = Counter(s["inner_steps"] for s in found)
    assert set(steps) == set(range(1, 11))
    assert max(steps.values()) - min(steps.values()) <= 3
    assert {type(s["inner_steps"]) for s in found} == {int}
    assert all(float(f"{r:.4g}") == r for r in rates)
    assert "filters" not in found[0]


def test_a_prior_between_whole_numbers_reaches_both_ends_and_no_further() -> None:
    for knob in (
        Knob(field="n", low=1, high=3),
        Knob(field="n", low=1.5, high=4, log=True),
    ):
        drawn = {value_of(knob, float(u), True) for u in np.linspace(0, 1, 101)}
        least, most = int(np.ceil(knob.low)), int(knob.high)
        assert drawn == set(range(least, most + 1))


def test_what_the_user_sets_is_not_varied_and_moves_no_other_knob() -> None:
    fixed = plan(["maml"], [CLOSED], "smoke", 1, {"maml": {"inner_lr": 0.02}})
    whole = plan(["maml"], [CLOSED], "smoke", 1)
    for one, other in zip(turned(fixed, "maml"), turned(whole, "maml"), strict=True):
        assert one.key.parameters == {**other.key.parameters, "inner_lr": 0.02}
        assert "inner_lr" not in {k.field for k in one.knobs}


def test_a_learner_without_knobs_is_refused_unless_another_suite_takes_it(tiny: Path) -> None:
    with pytest.raises(MetabenchError, match="broad-bayes: declares no knobs"):
        plan(["broad-bayes"], [CLOSED], "smoke")
    cells = plan(["broad-bayes", "idle-knob"], [CLOSED, tiny], "smoke")
    mine = {c.key.suite for c in cells if c.key.learner == "broad-bayes"}
    assert mine == {load_suite(tiny).name}


def test_points_are_a_power_of_two(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text((CLOSED / "suite.toml").read_text().replace("points = 2,", "points = 3,"))
    with pytest.raises(MetabenchError, match="points: must be a power of two, found 3"):
        load_suite(path)


def test_only_a_suite_with_points_has_them_in_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    text = (CLOSED / "suite.toml").read_text()
    path.write_text(text.replace("points = 2,", "points = 4,"))
    assert load_suite(path).fingerprint != load_suite(CLOSED).fingerprint
    path.write_text(text.replace("points = 2,", "points = 0,"))
    without = load_suite(path).fingerprint
    path.write_text(text.replace("points = 2,", ""))
    assert load_suite(path).fingerprint == without


def test_a_setting_that_diverges_is_a_result_and_one_at_the_defaults_a_failure(
    tmp_path: Path,
) -> None:
    far = {"edge-of-stability": {"rate": 1000.0}}
    fixed = metabench.run(
        "edge-of-stability",
        CLOSED,
        preset="few",
        out=tmp_path / "fixed",
        workers=0,
        parameters=far,
    )
    assert {r.status for r in fixed.failures} == {"diverged"}
    free = metabench.run("edge-of-stability", CLOSED, out=tmp_path, workers=0, seeds=1)
    lost = [r for r in free.records if r.status == "diverged"]
    assert lost
    assert free.failures == []
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "records").iterdir()}
    metabench.run("edge-of-stability", CLOSED, out=tmp_path, workers=0, seeds=1, retry=True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "records").iterdir()} == before


def test_another_process_finds_the_setting_again() -> None:
    (cell, *_) = turned(plan(["maml"], [CLOSED], "few"), "maml")
    again = pickle.loads(pickle.dumps(cell))
    assert (again.id, again.point, again.knobs) == (cell.id, cell.point, cell.knobs)
    assert again.info().point == cell.point
