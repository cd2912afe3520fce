"""What the documentation shows works as shown."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

import metabench
from metabench.boards import build_board, to_markdown
from metabench.estimators import ESTIMATORS
from metabench.learners import LEARNERS
from metabench.learners.build import find_learner, parameter_model
from metabench.statistics import t_interval
from metabench.suite import Suite, load_suite

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(text: str, language: str, containing: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    (only,) = [b for b in found if containing in b]
    return str(only)


def test_the_learner_of_the_readme_keeps_the_contract() -> None:
    code = block(README, "python", "class Centroid").rpartition("results =")[0]
    space: dict[str, object] = {"__name__": "readme"}
    exec(code, space)
    report = metabench.check(space["Centroid"], "cpu")  # type: ignore[arg-type]
    assert report.passed, "\n".join(report.lines())


def test_a_newcomer_adds_a_learner_in_under_forty_lines(tmp_path: Path) -> None:
    code = block(CONTRIBUTING, "python", "class Projection")
    assert sum(bool(line.strip()) and "import " not in line for line in code.splitlines()) < 40
    path = tmp_path / "projection.py"
    path.write_text(code)
    try:
        learner = find_learner(f"{path}:Projection")
        report = metabench.check(learner, "cpu")
        assert report.passed, "\n".join(report.lines())
        assert list(parameter_model(learner).model_fields) == ["size"]
    finally:
        LEARNERS._items.pop("projection", None)


def test_the_suite_of_the_guide_is_valid(tmp_path: Path) -> None:
    text = block(CONTRIBUTING, "toml", "preset.smoke")
    (tmp_path / "suite.toml").write_text(text)
    assert load_suite(tmp_path).get_preset("smoke").seeds == 1
    assert Suite.model_validate(tomllib.loads(text)).name == "mine"


def test_the_task_of_the_guide_draws_episodes() -> None:
    from typing import ClassVar

    from metabench.rng import Address
    from metabench.tasks import TASKS, Shape, sample
    from metabench.tasks.base import Range
    from metabench.tasks.functions import FunctionFamily

    space: dict[str, object] = {
        "TASKS": TASKS,
        "FunctionFamily": FunctionFamily,
        "Range": Range,
        "ClassVar": ClassVar,
        "__name__": "guide",
    }
    try:
        exec(block(CONTRIBUTING, "python", "class Lines"), space)
        made = sample(TASKS.get("lines")(), Shape(shot=3, query=2), Address.of("x"), range(5))
        slope = made.query_y / made.query.x
        assert slope[:, 0] == pytest.approx(slope[:, 1], rel=1e-4)
    finally:
        TASKS._items.pop("lines", None)


def test_a_suite_with_a_probe_of_its_own_is_one_table_and_one_function(tmp_path: Path) -> None:
    exec(block(CONTRIBUTING, "python", "def spread"), {"__name__": "guide"})
    try:
        suite = block(CONTRIBUTING, "toml", "[[source]]") + block(CONTRIBUTING, "toml", "probe = ")
        small = suite.replace("seeds = 1", "seeds = 2").replace("episodes = 100", "episodes = 30")
        (tmp_path / "suite.toml").write_text(small)
        results = metabench.run(["cnp"], tmp_path, preset="smoke", out=tmp_path / "run", workers=0)
        (part,) = build_board(results).panels
        (row,) = [r for r in part.probes.itertuples() if r.label == "cnp"]
        own = part.panel.scored
        own = own[(own["label"] == "cnp") & (own["condition"] == "noise") & (own["level"] == 3)]
        assert row.mean == pytest.approx(own.groupby("seed")["risk"].std().mean())
        assert "spread" in to_markdown(build_board(results)) or not row.flagged
    finally:
        ESTIMATORS._items.pop("spread", None)


def test_the_measured_table_is_what_was_measured() -> None:
    path = ROOT / "benchmarks" / "reproduce" / "results" / "sinusoid_maml.json"
    for row in json.loads(path.read_text())["rows"]:
        shots, steps = re.findall(r"\d+", row["setting"])
        if steps != "0" and row["iterations"] == 70_000:
            interval = t_interval(row["seeds"])
            counts = ", ".join(map(str, row["diverged_tasks"]))
            wanted = f"| {shots} | {steps} |"
            (line,) = [x for x in README.splitlines() if x.startswith(wanted)]
            assert interval.text(3) in line
            assert counts in line
