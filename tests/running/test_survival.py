"""Every shipped learner through whole suites, with next to no budget: nothing may break."""

from __future__ import annotations

from pathlib import Path

import pytest

import metabench
from metabench import attacks
from metabench.learners import LEARNERS
from metabench.records import Budget, Parameter
from metabench.store import Results
from metabench.suite import EVERY, Suite, load_suite, suite_names

SHIPPED = [name for name in LEARNERS if LEARNERS.get(name).card.family != "control"]
DOWNLOADED = {"ood-cifar-fs", "ood-omniglot", "transfer-images"}
"""Suites of pictures that a test must not fetch; ``ood-glyphs`` asks the same of glyphs."""
SMALL: dict[str, Parameter] = {
    "filters": 4,
    "hidden": 8,
    "meta_batch": 2,
    "batch": 8,
    "steps": 2,
    "adapt_steps": 2,
    "eval_steps": 4,
    "controller": 8,
    "slots": 6,
}

COURSES = [
    ("brittleness", ["harmonics"], ["anil", "cnp", "mann"]),
    ("brittleness", ["glyphs"], ["boil", "protonet", "simpleshot"]),
    ("domains", ["antigens"], ["protonet", "r2d2"]),
    ("domains", ["demand", "regression"], ["transformer", "fomaml"]),
    ("drift", ["harmonics"], ["maml", "lstm", "finetune"]),
    ("efficiency", ["harmonics"], ["deep-kernel", "reptile"]),
    ("goodhart", ["tasks-8"], ["meta-sgd", "anp"]),
    ("goodhart", ["cue"], ["maml", "matchingnet"]),
    ("ood-functions", ["sinusoid"], ["maml++", "snail"]),
    ("ood-glyphs", ["glyphs"], ["protomaml", "simple-cnaps"]),
    ("sensitivity", ["harmonics"], ["maml", "cnp"]),
    ("transfer", ["harmonics"], ["mr-maml", "ntm"]),
]


@pytest.fixture(autouse=True)
def _short_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "STEPS", 2)
    monkeypatch.setattr(attacks, "RESTARTS", 1)
    monkeypatch.setattr(attacks, "EVALUATIONS", 2)


def shrunk(name: str, *sources: str) -> Suite:
    """Two meta-steps, two episodes and the last level of every condition and stream."""
    suite = load_suite(name)
    chosen = []
    for source in suite.source:
        if source.name in sources:
            conditions = [c.model_copy(update={"levels": c.levels[-1:]}) for c in source.condition]
            streams = [
                s.model_copy(update={"levels": s.levels[-1:], "steps": 30}) for s in source.stream
            ]
            update = {"condition": conditions, "stream": streams}
            chosen.append(source.model_copy(update=update))
    smoke = suite.get_preset("smoke")
    preset = smoke.model_copy(
        update={
            "seeds": 1,
            "episodes": 2,
            "streams": 1,
            "budget": Budget(tasks=10_000, steps=2, seconds=100),
            "checkpoints": min(smoke.checkpoints, 2),
            "points": min(smoke.points, 2),
            "sources": list(sources),
            "parameters": {EVERY: SMALL},
        }
    )
    return suite.model_copy(update={"source": chosen, "preset": {"smoke": preset}})


def survives(learners: list[str], suite: Suite, out: Path) -> Results:
    results = metabench.run(learners, suite, out=out, device="cpu", workers=0)
    broken = {(r.key.learner, r.key.source): r.error for r in results.records if r.status != "ok"}
    assert not broken
    assert {r.key.learner for r in results.records} >= set(learners)
    assert all(r.rows for r in results.records)
    return results


def able(kind: str) -> list[str]:
    return [name for name in SHIPPED if kind in LEARNERS.get(name).card.kinds]


@pytest.mark.parametrize(
    ("kind", "source"), [("regression", "few-tasks"), ("classification", "glyphs-fixed")]
)
def test_every_shipped_learner_survives_changed_supports_and_has_its_line(
    kind: str, source: str, tmp_path: Path
) -> None:
    results = survives(able(kind), shrunk("overfitting", source), tmp_path)
    (panel,) = metabench.board(results).panels
    assert {row.label for row in panel.rows} >= set(able(kind))
    text = metabench.report(results, tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(name in text for name in able(kind))


@pytest.mark.parametrize(
    ("suite", "sources", "learners"),
    COURSES,
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_learners_of_several_families_survive_each_suite(
    suite: str, sources: list[str], learners: list[str], tmp_path: Path
) -> None:
    survives(learners, shrunk(suite, *sources), tmp_path)


def test_no_suite_is_left_out() -> None:
    assert {suite for suite, _, _ in COURSES} | DOWNLOADED | {"overfitting"} == set(suite_names())
