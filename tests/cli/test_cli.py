"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metabench.cli.progress import TimeLeft, in_words
from metabench.cli.run import parse_settings
from metabench.errors import MetabenchError
from metabench.running.plan import plan
from tests.running import learners

REFERENCE = learners.__file__


def metabench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metabench", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    tiny = Path(__file__).parents[1] / "data" / "tiny"
    done = metabench("run", "--learner", "maml", "--suite", str(tiny), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "[4/4]" in done.stdout
    assert "OOD skill" in done.stdout
    assert str(out / "report.html") in done.stdout.replace("\n", "")
    return out


def test_a_run_leaves_a_report_that_loads_nothing_from_elsewhere(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert 'src="http' not in page
    assert "maml" in page


def test_a_run_that_is_finished_is_not_run_again(finished: Path, tiny: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (finished / "records").iterdir()}
    done = metabench("run", "--learner", "maml", "--suite", str(tiny), "--out", str(finished))
    assert done.returncode == 0
    assert "4 already finished" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in (finished / "records").iterdir()} == before


@pytest.mark.parametrize(("form", "sign"), [("markdown", "| learner |"), ("csv", "suite,source")])
def test_a_board_is_printed_and_written(
    finished: Path, tmp_path: Path, form: str, sign: str
) -> None:
    printed = metabench("board", "show", str(finished), "--format", form)
    assert sign in printed.stdout
    target = tmp_path / "sub" / "board"
    assert (
        metabench("board", "show", str(finished), "--format", form, "--out", str(target)).returncode
        == 0
    )
    assert sign in target.read_text(encoding="utf-8")


def test_a_report_can_be_written_anew(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    done = metabench("report", str(finished), "--out", str(target))
    assert done.returncode == 0
    assert target.stat().st_size > 1000


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("suites", ["ood-functions", "ood-glyphs", "ood-omniglot"]),
        ("learners", ["protonet", "maml", "mann", "ridge", "inner_lr"]),
        ("tasks", ["sinusoid", "harmonics", "glyphs", "omniglot", "mnist"]),
    ],
)
def test_everything_installed_is_listed(what: str, names: list[str]) -> None:
    listed = metabench("list", what, COLUMNS="200").stdout
    assert [n for n in names if n not in listed] == []


def test_a_learner_is_listed_with_what_every_hyper_parameter_means() -> None:
    listed = metabench("list", "learners", "maml", COLUMNS="200").stdout
    wanted = [
        "Finn, Abbeel, Levine 2017",
        "inner_lr",
        "float | None",
        "> 0",
        "inner rate; None: 0.01",
    ]
    assert [w for w in wanted if w not in listed] == []
    wrong = metabench("list", "suites", "maml")
    assert wrong.returncode == 2
    assert "only learners are listed by name" in wrong.stderr


def test_a_check_says_pass_or_what_broke() -> None:
    good = metabench("check", "nearest-neighbour")
    assert good.returncode == 0
    assert "keeps the contract" in good.stdout
    bad = metabench("check", f"{REFERENCE}:Peeks")
    assert bad.returncode == 1
    assert "FAIL" in bad.stdout
    assert "it uses the other queries" in bad.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--learner", "mamml", "--suite", "TINY"], "Did you mean 'maml'"),
        (["run", "--learner", "maml", "--suite", "ood-glyph"], "Did you mean 'ood-glyphs'"),
        (["run", "--learner", "maml", "--suite", "TINY", "--preset", "x"], "Allowed: hurried"),
        (["run", "--learner", "maml", "--suite", "TINY", "--set", "maml"], "LEARNER.NAME=VALUE"),
        (["run", "--learner", "maml", "--suite", "TINY", "--set", "maml.x=1"], "'x'"),
        (["run", "--learner", "maml", "--suite", "TINY", "--device", "cuda:64"], "CUDA"),
        (["run", "--learner", "maml", "--suite", "TINY", "--out", "/proc/x"], "cannot write"),
        (
            ["run", "--learner", "protonet", "--suite", "ood-omniglot"],
            "the data root must hold omniglot/train.parquet",
        ),
        (["board", "show", "nowhere"], "not a run folder"),
        (["report", "nowhere"], "not a run folder"),
        (["check", "nothing"], "unknown learner"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    tiny: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = [str(tiny) if a == "TINY" else a for a in arguments]
    if given[0] == "run" and "--out" not in given:
        given += ["--out", str(tmp_path)]
    done = metabench(*given, METABENCH_DATA=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_learner_that_predicts_nan_is_one_line_and_exit_code_2(
    tiny: Path, tmp_path: Path
) -> None:
    done = metabench(
        "run", "--learner", f"{REFERENCE}:NaN,maml", "--suite", str(tiny), "--out", str(tmp_path)
    )
    assert done.returncode == 2
    assert "diverged" in done.stderr
    assert done.stderr.count("\n") == 1
    records = [json.loads(p.read_text()) for p in (tmp_path / "records").glob("*.json")]
    assert sorted(r["status"] for r in records) == ["diverged", "ok", "ok", "ok", "ok"]
    assert "maml" in done.stdout


def test_help_answers_without_importing_torch() -> None:
    code = (
        "import sys; sys.argv = ['metabench', '--help']\n"
        "from metabench.cli import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "False False" in done.stdout, done.stdout + done.stderr


def test_ctrl_c_keeps_what_is_finished(tiny: Path, tmp_path: Path) -> None:
    import signal

    # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "metabench", "run", "--learner", f"{REFERENCE}:Slow"),
            *("--suite", str(tiny), "--preset", "smoke", "--out", str(tmp_path)),
            *("--workers", "1", "--set", "slow.pause=5.0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / ".lock").exists():
        time.sleep(0.1)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "finished cells are kept" in stderr
    assert "Traceback" not in stderr


def test_settings_are_toml_values() -> None:
    parsed = parse_settings(["maml.inner_lr=0.1", "maml.first_order=true", "x.name=word"])
    assert parsed == {"maml": {"inner_lr": 0.1, "first_order": True}, "x": {"name": "word"}}
    with pytest.raises(MetabenchError, match=r"expected LEARNER\.NAME=VALUE"):
        parse_settings(["inner_lr=0.1"])


def test_time_left_is_a_bound_until_every_kind_of_cell_was_seen(tiny: Path) -> None:
    left = TimeLeft()
    left.workers = 2
    cells = plan(["maml"], [tiny], "smoke", seeds=3)
    left.remaining = {c.id: c for c in cells}
    assert left.text() == "", "nothing is known yet"
    left.phase_left[cells[0].id] = 30.0
    assert left.text() == "at least 30 s left"
    for cell in cells:
        left.seen[left.kind(cell)] = [20.0]
    assert left.text() == f"about {in_words((11 * 20 + 30) / 2)} left"
    assert in_words(125) == "2 min 05 s"
