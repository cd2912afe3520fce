"""metabench gate and metabench ci, as a user meets them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import Result
from typer.testing import CliRunner

from metabench import cli
from metabench.errors import MetabenchError
from metabench.gate.fresh import KEPT, code_digest, prune
from metabench.store import Store
from tests.factories import BASE, BAYES, Learner, constant, make_results

EXAMPLE = Path(__file__).parents[2] / "examples" / "ci"
KERNEL = "2 * length**2"


def metabench(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env=environment)


def folder(path: Path, skill: float, seeds: int = 4) -> Path:
    learner = Learner("maml", constant(skill), "gradient", parameters={"v": skill})
    made = make_results((BASE, BAYES, learner), seeds=seeds)
    store = Store(path)
    store.open()
    for record in made.records:
        rows = made.episodes[made.episodes["record"] == record.id]
        store.write(record, rows)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    return {name: folder(root / name, s) for name, s in (("good", 0.8), ("bad", 0.3))}


def test_exit_codes_are_pass_regression_and_broken(runs: dict[str, Path], tmp_path: Path) -> None:
    def code(candidate: Path, baseline: Path, *more: str) -> int:
        done = metabench("gate", "--candidate", candidate, "--baseline", baseline, *more)
        return done.exit_code

    assert code(runs["good"], runs["good"]) == 0
    assert code(runs["bad"], runs["good"]) == 1
    assert code(runs["good"], runs["bad"], "--rule", "merge", "--margin", "0.1") == 0
    assert code(folder(tmp_path / "one", 0.7, seeds=1), runs["good"]) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--candidate", "nowhere"), "nowhere: not a run folder"),
        (("--margin", "-1"), "--margin: Input should be greater than 0"),
        (("--alpha", "2"), "--alpha: Input should be less than 0.5"),
        (("--learner", "mmal"), "Did you mean 'maml'"),
        (("--config", "nowhere.toml"), "no such file"),
    ],
)
def test_mistakes_are_one_line(
    runs: dict[str, Path], arguments: tuple[str, ...], reason: str
) -> None:
    known = ["--candidate", str(runs["good"]), "--baseline", str(runs["good"])]
    done = metabench("gate", *known, *arguments)
    assert isinstance(done.exception, MetabenchError)
    assert reason in str(done.exception)
    assert "\n" not in str(done.exception)


def test_what_nobody_foresaw_is_never_called_a_regression(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("metabench.gate.gate", fails)
    arguments = ["--candidate", runs["good"], "--baseline", runs["good"]]
    assert metabench("gate", *arguments).exit_code == 2
    told = metabench("gate", *arguments, "--github")
    assert "::error title=metabench::ZeroDivisionError: " in told.stdout

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("metabench.gate.gate", interrupted)
    assert metabench("gate", *arguments).exit_code == 130


def test_a_leaderboard_serves_as_the_baseline(runs: dict[str, Path], tmp_path: Path) -> None:
    board = tmp_path / "board"
    shutil.copytree(runs["good"], board)
    (board / "board.toml").write_text("name = 'toys'\n")
    done = metabench("gate", "--candidate", runs["bad"], "--baseline", board)
    assert done.exit_code == 1


def test_every_form_is_written_where_it_is_asked_for(runs: dict[str, Path], tmp_path: Path) -> None:
    junit, summary = tmp_path / "out" / "junit.xml", tmp_path / "summary.md"
    summary.write_text("before\n")
    arguments = ["--candidate", runs["bad"], "--baseline", runs["good"]]
    done = metabench(
        "gate", *arguments, "--format", "json", "--junit", junit, GITHUB_STEP_SUMMARY=str(summary)
    )
    assert json.loads(done.stdout)["status"] == "regression"
    assert summary.read_text() == "before\n"
    assert ElementTree.parse(junit).getroot().get("failures") == "4"
    done = metabench("gate", *arguments, "--github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.stdout.count("\n::error title=") == 4
    assert summary.read_text().startswith("before\n### metabench gate: maml")


def test_the_table_of_a_configuration_holds_for_any_run(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "metabench.toml"
    text = (
        "learner = 'x'\nsuites = ['toy']\n[gate]\nbaseline = {}\nskill = [{{ at_least = 0.5 }}]\n"
    )
    path.write_text(text.format(json.dumps(os.path.relpath(runs["bad"], tmp_path))))
    good = metabench("gate", "--candidate", runs["good"], "--config", path)
    bad = metabench("gate", "--candidate", runs["bad"], "--config", path, "--format", "json")
    assert (good.exit_code, bad.exit_code) == (0, 1)
    checks = json.loads(bad.stdout)["checks"]
    assert {c["status"] for c in checks if c["kind"] == "difference"} == {"pass"}
    assert {c["status"] for c in checks if c["kind"] == "skill"} == {"regression"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The example with three seeds, and without the check, which takes seconds."""
    root = tmp_path / "repository"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    path = root / "metabench.toml"
    text = path.read_text().replace("seeds = 5", "seeds = 3\ncheck = false\nworkers = 0")
    # The class is found by its file: a package would stay imported from test to test.
    path.write_text(text.replace("my_learner:Smooth", "smooth.py:Smooth"))
    source = (root / "my_learner" / "smooth.py").read_text()
    kernel = (root / "my_learner" / "kernel.py").read_text()
    line = "from my_learner.kernel import kernel\n"
    assert line in source
    (root / "smooth.py").write_text(source.replace(line, "") + "\n\n" + kernel)
    return root


def test_a_repository_is_guarded_from_its_first_commit_on(repository: Path) -> None:
    config = repository / "metabench.toml"
    none = metabench("ci", "--config", config)
    assert isinstance(none.exception, MetabenchError)
    assert "'metabench ci --first' makes one" in str(none.exception)
    first = metabench("ci", "--config", config, "--first", "--format", "json")
    assert first.exit_code == 0, first.output
    baseline = repository / ".metabench" / "baseline"
    before = {p.name: p.read_bytes() for p in (baseline / "records").iterdir()}
    assert len(before) == 2 * 3 * 5
    same = metabench("ci", "--config", config, "--format", "json")
    assert json.loads(same.stdout)["identical"]
    report = repository / ".metabench" / "report"
    assert {p.name for p in report.iterdir()} == {
        "verdict.md",
        "verdict.json",
        "junit.xml",
        "report.html",
    }
    better = (repository / "smooth.py").read_text().replace(KERNEL, "2.2 * length**2")
    (repository / "other.py").write_text(better)
    text = config.read_text()
    config.write_text(text.replace("smooth.py", "other.py").replace('"block"', '"merge"'))
    second = metabench("ci", "--config", config, "--first", "--format", "json")
    assert not json.loads(second.stdout)["identical"]
    assert {p.name: p.read_bytes() for p in (baseline / "records").iterdir()} == before
    config.write_text(text)
    # A worse learner: blocked, and never accepted; the baselines' cells are not run again.
    source = (repository / "smooth.py").read_text()
    (repository / "worse.py").write_text(source.replace(KERNEL, "20 * length**2"))
    assert KERNEL in source
    config.write_text(config.read_text().replace("smooth.py", "worse.py"))
    worse = metabench("ci", "--config", config, "--accept", "--format", "json")
    verdict = json.loads(worse.stdout)
    assert (worse.exit_code, verdict["status"]) == (1, "regression")
    assert {p.name: p.read_bytes() for p in (baseline / "records").iterdir()} == before
    folders = [p for p in (repository / ".metabench").iterdir() if (p / "records").is_dir()]
    assert len(folders) == 4


def test_a_learner_that_breaks_the_contract_is_broken_before_anything_runs(
    repository: Path,
) -> None:
    config = repository / "metabench.toml"
    source = (repository / "smooth.py").read_text()
    (repository / "peeks.py").write_text(
        source.replace("return Prediction(between @ weights)", "return Prediction(between)")
    )
    text = config.read_text().replace("smooth.py", "peeks.py").replace("check = false", "")
    config.write_text(text)
    done = metabench("ci", "--config", config)
    assert done.exit_code == 2
    assert "FAIL" in done.stderr
    assert not list((repository / ".metabench").glob("*/records/*.json"))


def test_results_never_outlive_the_code_that_the_learner_imports(repository: Path) -> None:
    reference = f"{repository / 'smooth.py'}:Smooth"
    before = code_digest(reference)
    assert code_digest(reference) == before
    (repository / ".hidden").mkdir()
    (repository / ".hidden" / "x.py").write_text("")
    assert code_digest(reference) == before
    (repository / "my_learner" / "kernel.py").write_text("x = 1\n")
    assert code_digest(reference) != before
    assert code_digest("maml") == code_digest("metabench.learners:MAML")
    with pytest.raises(MetabenchError, match="no module 'nowhere'"):
        code_digest("nowhere:Learner")


def test_old_runs_are_removed_and_nothing_else(tmp_path: Path) -> None:
    names = [f"{i:012x}" for i in range(KEPT + 4)]
    for i, name in enumerate([*names, "baseline", "report"]):
        (tmp_path / name / "records").mkdir(parents=True)
        os.utime(tmp_path / name, (i, i))
    prune(tmp_path, tmp_path / names[0])
    assert {p.name for p in tmp_path.iterdir()} == {names[0], *names[4:], "baseline", "report"}
