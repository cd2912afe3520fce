"""The scripts of known answers: what is measured, kept and rendered."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "reproduce"
sys.path.insert(0, str(FOLDER))

import exact  # noqa: E402
import render  # noqa: E402
from common import Figure  # noqa: E402

CHECKS = render.checks()
TINY = exact.Check(
    name="tiny",
    title="Tiny",
    unit="error",
    notes="Notes.",
    figures=(
        Figure("a", "x", "", 1.0, None, "Somebody 2020 [R]", gate=("at most", 1.5)),
        Figure("a", "y", gate=("at least", 3.0)),
    ),
    measure=lambda i: {("a", "x"): float(i), ("a", "y"): 2.0},
    replicates=3,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.name)
def test_every_known_answer_has_a_source_that_says_how_it_was_read(check: exact.Check) -> None:
    for figure in check.figures:
        if figure.value is not None:
            assert re.search(r"\[(R|3P|M|D)\]$", figure.source), figure


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.name)
def test_what_is_kept_belongs_to_the_figures_of_a_full_run(check: exact.Check) -> None:
    outcomes = exact.load(check.path)
    assert outcomes is not None
    assert outcomes.replicates == check.replicates
    keys = [(row.learner, row.setting) for row in outcomes.rows]
    assert keys == [(f.learner, f.setting) for f in check.figures]


def test_a_run_keeps_means_and_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results" / "tiny.json"
    exact.run(TINY, ["--results", str(path)])
    outcomes = exact.load(path)
    assert outcomes is not None
    first, second = outcomes.rows
    assert first.mean == 1.0
    assert first.half_width == pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert (second.mean, second.half_width) == (2.0, 0.0)
    assert "| a | x | 1.0 | Somebody 2020 [R] | 1.00 ± 2.48 | at most 1.5: met |" in (
        capsys.readouterr().out
    )


def test_a_missed_answer_is_said_to_be_missed_and_no_run_is_no_number(tmp_path: Path) -> None:
    exact.run(TINY, ["--results", str(tmp_path / "t.json"), "--replicates", "1"])
    text = "\n".join(exact.section(TINY, exact.load(tmp_path / "t.json")))
    assert "| a | y | — | — | 2.00 | at least 3: **missed** |" in text
    assert "tiny.py --replicates 1`, deterministic" not in text
    bare = "\n".join(exact.section(TINY, exact.load(tmp_path / "none.json")))
    assert "| not run | at most 1.5 |" in bare
    assert "`python benchmarks/reproduce/tiny.py`, not run" in bare
