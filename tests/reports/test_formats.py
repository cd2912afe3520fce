"""metabench report and metabench compare, in every format."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.store import Store
from tests.factories import BASE, BAYES, Learner, constant, make_results

RUNNER = CliRunner()
STARTS = {"html": "<!doctype html>", "markdown": "# ", "latex": r"\documentclass"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    store = Store(out)
    store.open()
    made = make_results([BASE, BAYES, Learner("one", constant(0.8)), Learner("two", constant(0.2))])
    for record in made.records:
        rows = made.episodes[made.episodes["record"] == record.id].drop(columns="record")
        store.write(record, rows)
    return out


@pytest.mark.parametrize(("format", "ending"), [("markdown", "md"), ("latex", "tex")])
def test_a_report_has_the_ending_of_its_format(finished: Path, format: str, ending: str) -> None:
    done = RUNNER.invoke(app, ["report", str(finished), "--format", format])
    assert done.exit_code == 0, done.output
    written = (finished / f"report.{ending}").read_text(encoding="utf-8")
    assert written.startswith(STARTS[format])
    assert "one is ahead of all others" in written


@pytest.mark.parametrize("format", ["table", "markdown", "html", "latex"])
def test_a_comparison_says_its_verdict_in_every_format(
    finished: Path, tmp_path: Path, format: str
) -> None:
    target = tmp_path / "made"
    arguments = ["compare", "one", "two", "--run", str(finished), "--format", format]
    done = RUNNER.invoke(app, [*arguments, "--out", str(target)])
    assert done.exit_code == 0, done.output
    written = target.read_text(encoding="utf-8")
    assert "one is ahead of two by +" in " ".join(written.split())
    assert written.lstrip().startswith(STARTS.get(format, "toy / toys"))


def test_a_boards_table_written_to_a_file_is_not_empty(finished: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["board", "show", str(finished), "--out", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    assert "OOD skill" in (tmp_path / "made").read_text(encoding="utf-8")


def test_an_unknown_format_is_told_with_what_is_allowed(finished: Path) -> None:
    done = RUNNER.invoke(app, ["report", str(finished), "--format", "pdf"])
    assert done.exit_code == 2
    assert "markdown" in done.output
