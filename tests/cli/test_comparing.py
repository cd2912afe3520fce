"""metabench compare and metabench power."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.store import Store
from tests.factories import BASE, BAYES, Learner, constant, make_results

RUNNER = CliRunner()


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


def test_two_learners_of_a_run_are_compared_with_a_verdict_in_words(finished: Path) -> None:
    done = RUNNER.invoke(
        app, ["compare", "one", "two", "--run", str(finished), "--format", "markdown"]
    )
    assert done.exit_code == 0, done.output
    assert "one is ahead of two by +" in done.output
    assert "| in distribution |" in done.output


def test_two_runs_are_compared_learner_by_learner(finished: Path) -> None:
    done = RUNNER.invoke(app, ["compare", str(finished), str(finished)])
    assert done.exit_code == 0, done.output
    assert "two and two of the second run are equal on each of" in done.output


def test_power_says_what_the_run_could_have_seen(finished: Path) -> None:
    arguments = ["power", "one", "two", "--run", str(finished), "--difference", "0.01"]
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "with 80 % power at 5 %" in done.output
    assert "a difference of 0.01 needs" in done.output


def test_an_unknown_learner_is_named_with_the_nearest(finished: Path) -> None:
    done = RUNNER.invoke(app, ["compare", "on", "two", "--run", str(finished)])
    assert isinstance(done.exception, MetabenchError)
    assert "Did you mean 'one'" in str(done.exception)
