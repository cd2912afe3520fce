"""Runs: cells, budgets, failures, resuming, processes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

import metabench
from metabench.errors import MetabenchError
from metabench.learners import LearnerCard
from metabench.records import Record
from metabench.running.plan import plan
from metabench.store import Results, Store
from metabench.training import LOG_POINTS, TrainingLog
from tests.running import learners

REFERENCE = f"{learners.__file__}"


def hashes(results: Results) -> dict[str, str | None]:
    return {r.id: r.rows_sha256 for r in results.records}


def only(results: Results, learner: str) -> Record:
    (record,) = [r for r in results.records if r.key.learner == learner]
    return record


def test_a_run_has_a_record_for_every_learner_baseline_and_oracle(
    tiny: Path, tmp_path: Path
) -> None:
    results = metabench.run("maml", tiny, out=tmp_path, workers=0, seeds=2)
    names = {"maml", "nearest-neighbour", "fourier-ridge", "oracle"}
    assert {(r.key.learner, r.key.seed) for r in results.records} == {
        (n, s) for n in names for s in (0, 1)
    }
    assert all(r.status == "ok" for r in results.records)
    maml = [r for r in results.records if r.key.learner == "maml"]
    assert all(r.used.tasks == 120 and r.used.steps == 12 for r in maml)
    assert all(len(r.training_log) == 12 for r in maml)
    # 70 episodes at level 0 and at two levels of two conditions.
    assert len(results.episodes) == 8 * 70 * 5
    assert not list(tmp_path.rglob(".tmp-*"))
    # One meta-training a seed; baselines have none.
    assert len(list((tmp_path / "trainings").iterdir())) == 2


def test_episodes_are_shared_by_learners_and_differ_between_seeds(
    tiny: Path, tmp_path: Path
) -> None:
    results = metabench.run("narrow-bayes", tiny, out=tmp_path, workers=0, seeds=2)
    table = results.episodes.pivot_table(
        index=["condition", "level", "episode"], columns=["learner", "seed"], values="value"
    )
    inside = table.loc["in-distribution"]
    # At level 0 the narrow learner is the oracle: equal on every single episode.
    pd.testing.assert_series_equal(
        inside["narrow-bayes", 0], inside["oracle", 0], check_names=False, atol=1e-9
    )
    assert (inside["oracle", 0] != inside["oracle", 1]).all()


def test_one_and_two_workers_and_no_worker_give_identical_rows(tiny: Path, tmp_path: Path) -> None:
    runs = [
        metabench.run(["maml", "mann"], tiny, out=tmp_path / str(n), workers=n) for n in (0, 1, 2)
    ]
    assert hashes(runs[0]) == hashes(runs[1]) == hashes(runs[2])


def test_finished_cells_are_not_computed_again(tiny: Path, tmp_path: Path) -> None:
    first = metabench.run("maml", tiny, out=tmp_path, workers=0)
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "records").iterdir()}
    again = metabench.run("maml", tiny, out=tmp_path, workers=0)
    assert hashes(first) == hashes(again)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "records").iterdir()} == written


def test_another_parameter_is_another_cell(tiny: Path, tmp_path: Path) -> None:
    metabench.run("maml", tiny, out=tmp_path, workers=0)
    metabench.run("maml", tiny, out=tmp_path, workers=0, parameters={"maml": {"inner_steps": 2}})
    loaded = metabench.load_records(tmp_path)
    assert sum(r.key.learner == "maml" for r in loaded.records) == 2


def test_nobody_can_weaken_a_baseline_or_take_its_name(tiny: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text((tiny / "suite.toml").read_text().replace('"fourier-ridge"]', '"scratch"]'))
    weak = {"scratch": {"steps": 1}}
    found = plan(["scratch"], [suite], "smoke", parameters=weak)
    steps = {c.key.parameters["steps"] for c in found if c.key.learner == "scratch"}
    assert steps == {1, 100}, "the declared baseline runs beside the weakened one"

    for name in ("fourier-ridge", "oracle"):

        class Impostor(learners.Mean):
            card = LearnerCard(name=name, family="other", kinds=("regression",))

        with pytest.raises(MetabenchError, match="the name is taken"):
            plan([Impostor], [tiny], "smoke")


@pytest.mark.parametrize(
    ("learner", "status", "message"),
    [
        (learners.Raises, "failed", "RuntimeError: no such luck"),
        (learners.NaN, "diverged", "no prediction was a number"),
        (learners.Diverges, "diverged", "meta-loss was inf at meta-step 2"),
        (learners.Peeks, "failed", "the card does not say 'transductive'"),
    ],
)
def test_a_learner_that_fails_has_a_record_and_the_rest_goes_on(
    tiny: Path, tmp_path: Path, learner: type, status: str, message: str
) -> None:
    results = metabench.run([learner, learners.Mean], tiny, out=tmp_path)
    bad = only(results, learner.card.name)
    assert bad.status == status
    assert message in (bad.error or "")
    assert only(results, "mean").status == "ok"
    assert results.failures == [bad]
    assert metabench.load_records(tmp_path).failures == [bad]


def test_a_failed_cell_is_kept_until_a_retry_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    first = only(metabench.run(learners.Raises, tiny, out=tmp_path), "raises")
    kept = only(metabench.run(learners.Raises, tiny, out=tmp_path), "raises")
    assert kept == first
    results = metabench.run(learners.Raises, tiny, out=tmp_path, retry=True)
    assert only(results, "raises").status == "failed"


def test_a_learner_that_kills_its_process_costs_its_own_record_only(
    tiny: Path, tmp_path: Path
) -> None:
    results = metabench.run([f"{REFERENCE}:Crashes", "maml"], tiny, out=tmp_path, workers=2)
    assert only(results, "crashes").status == "failed"
    assert "code 9" in (only(results, "crashes").error or "")
    assert only(results, "maml").status == "ok"


def test_a_learner_out_of_time_becomes_a_timeout(tiny: Path, tmp_path: Path) -> None:
    results = metabench.run(learners.Slow, tiny, preset="hurried", out=tmp_path)
    record = only(results, "slow")
    assert record.status == "timeout"
    assert "limit of 1 s" in (record.error or "")


def test_no_learner_gets_more_tasks_than_the_budget_holds(tiny: Path, tmp_path: Path) -> None:
    record = only(metabench.run(learners.Overspends, tiny, out=tmp_path), "overspends")
    assert record.status == "ok"
    assert record.used.tasks == 100, "a third batch of 50 would exceed 120"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learners": "mamml"}, "Did you mean 'maml'"),
        ({"learners": []}, "no learner"),
        ({"learners": "protonet"}, "does classification, the suites ask for regression"),
        ({"preset": "smok"}, "Did you mean 'smoke'"),
        ({"seeds": 0}, "seeds: must be at least 1"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"device": "cuda:99"}, "CUDA devices"),
        ({"parameters": {"maml": {"iner_lr": 1.0}}}, "Did you mean 'inner_lr'"),
        ({"parameters": {"maml": {"inner_lr": -1.0}}}, "inner_lr"),
        ({"parameters": {"mann": {"width": 1}}}, "not among the learners"),
        ({"learners": "nowhere.py:X"}, "no file nowhere.py"),
        ({"learners": f"{REFERENCE}:X"}, "has no class 'X'"),
        ({"out": "/proc/nowhere"}, "cannot write to the run folder"),
    ],
)
def test_a_mistake_is_known_before_any_work(
    tiny: Path, tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    given: dict[str, object] = {"learners": "maml", "out": tmp_path, "workers": 0, **arguments}
    with pytest.raises(MetabenchError) as caught:
        metabench.run(given.pop("learners"), tiny, **given)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


def test_two_runs_on_one_folder_do_not_race(tiny: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    with store.lock(), pytest.raises(MetabenchError, match="another run is writing"):
        metabench.run("maml", tiny, out=tmp_path, workers=0)


@pytest.mark.parametrize("damage", ["truncate", "field", "rows", "cut-rows"])
def test_a_damaged_record_is_named_and_nothing_else_is_lost(
    tiny: Path, tmp_path: Path, damage: str
) -> None:
    metabench.run("maml", tiny, out=tmp_path, workers=0)
    record = sorted((tmp_path / "records").glob("*.json"))[0]
    target = record if damage in ("truncate", "field") else record.with_suffix(".parquet")
    data = target.read_bytes()
    damaged = {
        "truncate": data[: len(data) // 2],
        "field": data.replace(b'"status"', b'"statue"'),
        "rows": data[:-9] + b"x" + data[-8:],
        "cut-rows": data[:100],
    }[damage]
    target.write_bytes(damaged)
    with pytest.raises(MetabenchError, match=str(target.name)) as caught:
        metabench.load_records(tmp_path)
    assert "\n" not in str(caught.value)
    target.write_bytes(data)
    assert len(metabench.load_records(tmp_path).records) == 4


def run_and_kill(arguments: list[str], checkpoints: Path, delay: float, patience: float) -> bool:
    """Start the command line and kill -9 it; whether it had finished before.

    The kill comes ``delay`` seconds after a checkpoint first changes, or after ``patience``.
    """

    def newest() -> int:
        times = [p.stat().st_mtime_ns for p in checkpoints.rglob("latest.safetensors")]
        return max(times, default=0)

    before, began = newest(), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "metabench", "run", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and time.monotonic() - began < patience:
        if newest() > before:
            time.sleep(delay)
            break
        time.sleep(0.01)
    if process.poll() is not None:
        return True
    process.kill()
    process.wait()
    return False


def unfinished(checkpoint: Path) -> bool:
    with safe_open(checkpoint, framework="pt") as file:
        return bool(file.metadata()["done"] == "0")


def test_killed_at_random_points_and_resumed_the_rows_are_the_same(
    tiny: Path, tmp_path: Path
) -> None:
    longer = tmp_path / "suite.toml"
    text = (tiny / "suite.toml").read_text()
    longer.write_text(text.replace("tasks = 120, steps = 12,", "tasks = 8000, steps = 800,"))
    whole = metabench.run(["maml", "mann"], longer, out=tmp_path / "whole", workers=0)
    out = tmp_path / "killed"
    arguments = ["--learner", "maml,mann", "--suite", str(longer), "--out", str(out)]
    arguments += ["--workers", "2", "--checkpoint-seconds", "0.02"]
    rng = random.Random(0)
    in_training = 0
    for kill in range(6):
        # Every third kill falls into start-up, evaluation or wherever it happens to be.
        patience = 60.0 if kill % 3 else rng.uniform(1.0, 8.0)
        if run_and_kill(arguments, out / "trainings", rng.uniform(0, 0.4), patience):
            break
        in_training += any(map(unfinished, (out / "trainings").rglob("latest.safetensors")))
        for path in (out / "records").glob("*.json"):
            Store(out).read_rows(Store(out).read(path.stem))
    results = metabench.run(["maml", "mann"], longer, out=out, workers=0)
    assert in_training >= 2
    assert hashes(results) == hashes(whole)
    assert only(results, "mann").used.tasks == only(whole, "mann").used.tasks


def test_a_training_log_stays_short_and_keeps_its_ends() -> None:
    log = TrainingLog()
    for step in range(1, 5001):
        log.add(step, float(step))
    assert LOG_POINTS / 2 <= len(log.points) <= LOG_POINTS
    assert log.points[-1][0] > 4900
    steps = [s for s, _ in log.points]
    assert steps == sorted(steps)
    assert all(s % log.every == 0 for s in steps)
