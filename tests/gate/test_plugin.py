"""The pytest plugin, run by pytest itself."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import pandas as pd
import pytest

import metabench.api
import metabench.gate
import metabench.guard
import metabench.running.local  # noqa: F401  (what the inner pytest imports, this one forgets)

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PLUGIN = "metabench.pytest_plugin"
SUITE = """
name = "quick"
version = 1
title = "Quick"
question = "?"
baselines = ["nearest-neighbour"]
oracle = "bayes"
preset.smoke = { seeds = 3, episodes = 60, budget = { tasks = 100, steps = 10, seconds = 60 } }
preset.one = { seeds = 1, episodes = 60, budget = { tasks = 100, steps = 10, seconds = 60 } }

[[source]]
name = "waves"
baselines = ["fourier-ridge"]
train = { task = "harmonics" }
episode = { shot = 8, query = 5 }
condition = [
  { name = "noise", shift = "noise", levels = [0.3, 0.5] },
  { name = "other", shift = "other-support" },
]
probe = [{ estimator = "sdi", threshold = 0.25, flag = "below" }]
"""
LEARNERS = """
import torch
from metabench import LearnerCard, MetaLearner, Prediction

class Near(MetaLearner):
    card = LearnerCard("near", "metric", ("regression",))
    def adapt(self, support):
        return support
    def predict(self, s, q):
        d = (q.x[:, :, None] - s.x[:, None]).square().sum(-1).masked_fill(~s.mask[:, None], 1e9)
        return Prediction((-d / 0.1).softmax(-1) @ (s.y * s.mask[..., None]))

class Ignores(Near):
    card = LearnerCard("ignores", "metric", ("regression",))
    def predict(self, s, q):
        return Prediction(torch.zeros_like(q.x[..., :1]))

class Fails(Near):
    card = LearnerCard("fails", "metric", ("regression",))
    def adapt(self, support):
        raise RuntimeError("no such luck")
"""


@pytest.fixture(scope="module", autouse=True)
def _everything_is_imported() -> None:
    # An inner pytest forgets what it imported, and Arrow registers a type once a process.
    pd.read_parquet(io.BytesIO(pd.DataFrame({"a": [1]}).to_parquet()))


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    (pytester.path / "suite.toml").write_text(SUITE)
    (pytester.path / "mine.py").write_text(LEARNERS)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", PLUGIN, "--metabench-workers", "0", *arguments)


def option(name: str, *more: str) -> list[str]:
    return ["--metabench", f"mine.py:{name}", "--metabench-suite", "suite.toml", *more]


def test_every_probe_and_condition_is_a_test_that_says_what_it_found(
    project: pytest.Pytester,
) -> None:
    done = run(project, "-v", *option("Ignores"))
    done.assert_outcomes(failed=2, passed=1)
    done.stdout.fnmatch_lines(
        [
            "quick/waves::sdi FAILED*",
            "quick/waves::in-distribution FAILED*",
            "quick/waves::noise PASSED*",
        ]
    )
    text = done.stdout.str()
    assert "ignores is flagged on quick/waves: sdi" in text
    assert "Support dependence (SDI) 0.00, 95 % bound 0.00, flagged below 0.25; 3 seeds" in text
    assert "0 ignores the support" in text
    assert "harm is shown below 0" in text
    assert "Traceback" not in text
    chosen = run(project, *option("Ignores", "-k", "sdi"))
    chosen.assert_outcomes(failed=1, deselected=2)


def test_workers_share_the_cells_and_a_second_session_runs_none(project: pytest.Pytester) -> None:
    done = project.runpytest_subprocess("-p", PLUGIN, "-n", "2", *option("Near"), timeout=240)
    outcomes = done.parseoutcomes()
    assert sum(outcomes.get(k, 0) for k in ("passed", "failed")) == 3
    records = list((project.path / ".metabench").glob("*/records/*.json"))
    assert len(records) == 4 * 3
    before = {p: p.stat().st_mtime_ns for p in records}
    run(project, *option("Near"))
    again = list((project.path / ".metabench").glob("*/records/*.json"))
    assert {p: p.stat().st_mtime_ns for p in again} == before


def test_one_seed_is_skipped_with_the_reason(project: pytest.Pytester) -> None:
    done = run(project, "-rs", *option("Near", "--metabench-preset", "one"))
    done.assert_outcomes(skipped=3)
    assert "can't decide: needs 2 seeds" in done.stdout.str()
    assert "1 seed: no interval" in done.stdout.str()


def test_a_cell_that_failed_fails_every_test_with_its_error(project: pytest.Pytester) -> None:
    done = run(project, *option("Fails", "--metabench-preset", "one"))
    done.assert_outcomes(failed=3)
    assert "seed 0: failed: RuntimeError: no such luck" in done.stdout.str()


def test_a_marker_does_the_same_and_runs_the_body_with_the_check(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.metabench(learner="mine.py:Near", suite="suite.toml", preset="one")
        def test_all():
            raise AssertionError("undecided tests have no body to run")

        @pytest.mark.xfail(strict=True)
        @pytest.mark.metabench(learner="mine.py:Ignores", suite=["suite.toml"], seeds=2)
        def test_bad(check):
            pass

        @pytest.mark.metabench(learner="mine.py:Near", suite="suite.toml", seeds=2)
        def test_body(check):
            assert check.place == "quick/waves"
            assert check.name != "sdi", "the body's own"

        def test_other():
            pass
        """
    )
    done = run(project, "-v", "-rA")
    text = done.stdout.str()
    assert "test_it.py::test_all[quick/waves::sdi] SKIPPED" in text
    assert "test_it.py::test_bad[quick/waves::sdi] XFAIL" in text
    assert "test_it.py::test_other PASSED" in text
    assert "the body's own" in text


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        ("learner='mine.py:Near'", "suite: is missing"),
        ("learner='mine.py:Near', suit='suite.toml'", "Did you mean 'suite'"),
        ("'mine.py:Near'", "takes its arguments by name"),
        ("learner='mine.py:Nar', suite='suite.toml'", "has no class 'Nar'"),
        ("learner='mine.py:Near', suite='suite.toml', preset='smok'", "Did you mean 'smoke'"),
    ],
)
def test_a_marker_that_is_wrong_is_told_in_one_line(
    project: pytest.Pytester, marker: str, reason: str
) -> None:
    project.makepyfile(
        test_it=f"import pytest\n@pytest.mark.metabench({marker})\ndef test_a(): ..."
    )
    done = run(project)
    assert done.ret != 0
    assert reason in done.stdout.str()
    assert "Traceback" not in done.stdout.str()


def test_an_option_that_is_wrong_is_told_in_one_line(project: pytest.Pytester) -> None:
    done = run(project, "--metabench", "mine.py:Near", "--metabench-suite", "suit.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "--metabench: " in done.stderr.str()


def test_pytest_without_it_imports_nothing_heavy(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import sys

        def test_a():
            assert {"torch", "pandas", "numpy"} & set(sys.modules) == set()
        """
    )
    done = project.runpytest_subprocess("-p", PLUGIN, "-p", "no:hypothesispytest", timeout=120)
    done.assert_outcomes(passed=1)


def test_pytest_finds_the_plugin_by_itself_once_metabench_is_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    # Named as its module, so that -p and the entry point are one plugin.
    assert declared["pytest11"] == {PLUGIN: PLUGIN}
