"""A learner in a worker: the same numbers as in process, and an end that is told."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import os
import py_compile
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import metabench
from metabench.errors import MetabenchError, TimeLimitError
from metabench.learners.contract import LEARNERS, MetaLearner
from metabench.records import Record
from metabench.submission.folder import folder_digest
from metabench.submission.process import SubmissionError
from metabench.submission.remote import Contained, contained
from metabench.submission.sandbox import choose, unavailable
from tests.submission.scene import QUICK, accuracy, manifest, ready, submission, write

CLUSTERS = """
name = "clusters-tiny"
version = 1
title = "Clusters for tests"
question = "Is it the same?"
baselines = ["nearest-neighbour"]
oracle = "declared"
ceiling = 1.0

[preset.smoke]
seeds = 1
episodes = 20
budget = { tasks = 48, steps = 12, seconds = 120 }
parameters."*" = { meta_batch = 4, train_way = 5, hidden = 16, filters = 8 }

[[source]]
name = "SOURCE"
train = { task = "SOURCE" TRAIN }
test = { task = "SOURCE" TEST }
episode = { way = 5, shot = 1, query = 4 }

[[source.condition]]
name = "shot"
shift = "shot"
levels = [2]
"""


def needs_sandbox() -> None:
    """Where there is none, CI fails, and says why."""
    if unavailable() and "CI" not in os.environ:
        pytest.skip(unavailable())
    assert not unavailable(), unavailable()


@pytest.fixture(autouse=True)
def _sandbox() -> None:
    needs_sandbox()


def suite(folder: Path, source: str, split: tuple[str, str] | None = None) -> Path:
    """A small suite of that task."""
    text = CLUSTERS.replace("SOURCE", source)
    for name, part in zip(("TRAIN", "TEST"), split or ("", ""), strict=True):
        text = text.replace(name, f', split = "{part}"' if part else "")
    folder.mkdir()
    folder.joinpath("suite.toml").write_text(text)
    return folder


def rows(results: Any, learner: str) -> pd.DataFrame:
    table = results.episodes
    keys = ["source", "condition", "level", "episode", "metric", "checkpoint"]
    mine = table[table["learner"] == learner].sort_values(keys)
    return mine[[*keys, "value"]].reset_index(drop=True)


def only(results: Any, learner: str) -> Record:
    (record,) = [r for r in results.records if r.key.learner == learner]
    return record


def shipped(folder: Path, name: str, isolation: Any = "sandbox") -> type[Contained]:
    """A shipped learner as somebody's submission."""
    source = f"""
        from metabench.learners import LEARNERS

        class Learner(LEARNERS.get({name!r})):
            pass
    """
    kinds = LEARNERS.get(name).card.kinds
    said = manifest(name=f"my-{name}", kinds=list(kinds))
    return contained(said, write(folder, source), QUICK, isolation, ahead=False)


@pytest.mark.parametrize(
    ("learner", "task", "split"),
    [
        ("protonet", "glyphs", ("train", "new-characters")),
        ("baseline++", "clusters", None),
        ("maml", None, None),
        ("sklearn", None, None),
    ],
)
def test_a_learner_scores_the_same_to_the_bit_in_process_and_in_the_sandbox(
    learner: str, task: str | None, split: tuple[str, str] | None, tiny: Path, tmp_path: Path
) -> None:
    chosen = tiny if task is None else suite(tmp_path / "suite", task, split)
    mine = shipped(tmp_path / "folder", learner)
    results = metabench.run([mine, learner], chosen, out=tmp_path / "run", workers=0)
    inside, outside = only(results, f"my-{learner}"), only(results, learner)
    assert (inside.status, inside.error) == ("ok", None)
    assert (inside.isolation, outside.isolation) == ("sandbox", "none")
    assert inside.used.model_copy(update={"seconds": 0}) == outside.used.model_copy(
        update={"seconds": 0}
    )
    assert inside.training_log == outside.training_log
    pd.testing.assert_frame_equal(
        rows(results, f"my-{learner}"), rows(results, learner), check_exact=True
    )
    assert len(rows(results, learner)) >= 40


def test_without_a_sandbox_the_record_says_process(tiny: Path, tmp_path: Path) -> None:
    mine = shipped(tmp_path / "folder", "ridge", "process")
    results = metabench.run([mine, "ridge"], tiny, out=tmp_path / "run", workers=0)
    assert only(results, "my-ridge").isolation == "process"
    pd.testing.assert_frame_equal(rows(results, "my-ridge"), rows(results, "ridge"))


def test_auto_takes_the_sandbox_where_there_is_one() -> None:
    assert choose("auto") == "sandbox"
    assert choose("process") == "process"


def test_the_digest_of_a_result_is_that_of_the_folder(tmp_path: Path) -> None:
    one = submission(tmp_path / "a", "class Learner(Base): pass")
    same = submission(tmp_path / "b", "class Learner(Base): pass")
    other = submission(tmp_path / "c", "class Learner(Base): pass", {"notes.txt": "changed"})
    assert one.folder_digest == same.folder_digest != other.folder_digest


def compiled(source: Path, text: str) -> None:
    """Put code into ``__pycache__`` that Python would take for the source's without a look."""
    other = source.with_name("other.py")
    other.write_text(text)
    py_compile.compile(
        str(other),
        importlib.util.cache_from_source(str(source)),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    other.unlink()


@pytest.mark.parametrize("isolation", ["process", "sandbox"])
def test_what_runs_is_the_source_and_not_what_was_compiled_before(
    tmp_path: Path, isolation: Any
) -> None:
    source = """
    import helper

    class Learner(Base):
        def __init__(self, size: int = helper.SIZE, own: int = 1):
            pass
    """
    folder = write(tmp_path / "folder", source, {"helper.py": "SIZE = 32"})
    text = folder.joinpath("learner.py").read_text()
    compiled(folder / "learner.py", text.replace("own: int = 1", "own: int = 2"))
    compiled(folder / "helper.py", "SIZE = 64")
    # Python itself is taken in.
    told = "import sys; sys.path.insert(0, sys.argv[1]); import helper; print(helper.SIZE)"
    taken = subprocess.run(
        [sys.executable, "-c", told, str(folder)], capture_output=True, text=True, check=True
    )
    assert taken.stdout == "64\n"
    mine = contained(manifest(), folder, isolation=isolation, audits=False, ahead=False)
    found = {name: p.default for name, p in inspect.signature(mine).parameters.items()}
    assert found == {"size": 32, "own": 1}


def test_what_is_not_hashed_is_not_there_in_the_sandbox(tmp_path: Path) -> None:
    source = """
    import os

    SEEN = sorted(os.listdir(os.path.dirname(__file__)))
    HELD = [name for f in (".git", "__pycache__") for name in os.listdir(f"/submission/{f}")]

    class Learner(Base):
        def __init__(self, seen: str = " ".join(SEEN), held: str = " ".join(HELD)):
            pass
    """
    files = {".git/answers.txt": "1", "__pycache__/answers.txt": "2"}
    folder = write(tmp_path / "folder", source, files)
    mine = contained(manifest(), folder, isolation="sandbox", audits=False, ahead=False)
    found = {name: p.default for name, p in inspect.signature(mine).parameters.items()}
    assert found == {"seen": ".git __pycache__ learner.py", "held": ""}
    folder.joinpath("sub").mkdir()
    folder.joinpath("sub/.git").write_text("answers")
    assert mine.folder_digest != folder_digest(folder), "a file of that name is hashed"


def test_hyper_parameters_keep_their_names_defaults_and_limits(tmp_path: Path) -> None:
    mine = shipped(tmp_path / "folder", "ridge")
    with pytest.raises(MetabenchError, match="penalti"):
        metabench.run(mine, "ood-functions", parameters={"my-ridge": {"penalti": 1.0}})
    learner: Any = mine(penalty=-1.0)
    with pytest.raises(SubmissionError, match="in setup"):
        ready(lambda: learner)  # type: ignore[arg-type]


def children() -> set[int]:
    """Processes that this one has started."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in task.joinpath("children").read_text().split()}
    return found


def test_a_worker_ends_with_its_learner(tmp_path: Path) -> None:
    before = children()
    mine = submission(tmp_path / "folder", "class Learner(Base): pass")
    learner = ready(mine)
    assert accuracy(learner) == pytest.approx(0.2)
    assert children() - before
    del learner, mine
    gc.collect()
    assert children() - before == set()


SLOW = """
    import time
    from metabench.learners import StepLog

    class Learner(Base):
        def meta_fit(self, tasks, seed):
            while True:
                tasks.next(1)
                time.sleep(0.01)
                yield StepLog(1.0)

        def adapt(self, support):
            time.sleep(0.2)
            return support
"""


@pytest.mark.parametrize("moment", range(3))
def test_a_submission_killed_at_any_moment_leaves_a_record_that_says_so(
    moment: int, tmp_path: Path
) -> None:
    mine = submission(tmp_path / "folder", SLOW, name="slow")
    victim: list[int] = []

    def shoot() -> None:
        time.sleep(random.uniform(0.0, 0.5))
        for pid in victim:
            os.kill(pid, signal.SIGKILL)

    setup = mine.setup

    def watched(self: Contained, *args: Any) -> None:
        if self.launcher.first is not None:  # else it is the one for audits
            victim.append(self.launcher.first[0].worker.process.pid)
            threading.Thread(target=shoot).start()
        setup(self, *args)

    mine.setup = watched  # type: ignore[method-assign]
    chosen = suite(tmp_path / "suite", "clusters")
    results = metabench.run(mine, chosen, out=tmp_path / "run", workers=0)
    record = only(results, "slow")
    assert record.status == "failed"
    assert record.error is not None
    assert "slow: its process ended: signal SIGKILL" in record.error
    assert only(results, "nearest-neighbour").status == "ok"


def test_a_call_that_takes_too_long_ends_in_a_record_of_a_timeout(tmp_path: Path) -> None:
    source = """
        import time

        class Learner(Base):
            def predict(self, state, query):
                time.sleep(3600)
    """
    limits = QUICK.model_copy(update={"call_seconds": 1.0})
    mine = submission(tmp_path / "folder", source, limits=limits, name="drowsy")
    chosen = suite(tmp_path / "suite", "clusters")
    record = only(metabench.run(mine, chosen, out=tmp_path / "run", workers=0), "drowsy")
    assert record.status == "timeout"
    assert record.error is not None
    assert "drowsy: no answer within 1 s" in record.error


def test_meta_training_stops_at_the_cells_limit(tmp_path: Path) -> None:
    mine = submission(tmp_path / "folder", SLOW, name="slow")
    folder = suite(tmp_path / "suite", "clusters")
    text = folder.joinpath("suite.toml").read_text()
    text = text.replace(
        "tasks = 48, steps = 12, seconds = 120", "tasks=100000,steps=9999,seconds=4"
    )
    folder.joinpath("suite.toml").write_text(text)
    began = time.monotonic()
    record = only(metabench.run(mine, folder, out=tmp_path / "run", workers=0), "slow")
    assert record.status == "timeout"
    assert record.used.steps > 5
    assert time.monotonic() - began < 30


def test_a_training_interrupted_in_the_sandbox_goes_on_with_the_same_bits(
    tiny: Path, tmp_path: Path
) -> None:
    from metabench.running.plan import plan
    from metabench.training import Checkpoint, train

    mine = shipped(tmp_path / "folder", "maml")
    cell = next(c for c in plan([mine], [tiny], "smoke", 1) if c.key.learner == "my-maml")
    final = []
    for parts in ((12,), (5, 12)):
        checkpoint = Checkpoint(tmp_path / f"{len(parts)}.safetensors")
        for steps in parts:
            learner: MetaLearner[Any] = mine(**cell.key.parameters)
            stream = _stream(cell, steps)
            learner.setup(stream.info, 0, stream.device)
            train(learner, stream, 0, checkpoint)
            if steps < 12:
                checkpoint.save(learner, stream.used, _empty(), done=False)
        final.append(learner.state_dict())
    assert final[0].keys() == final[1].keys()
    assert all(bool((final[0][k] == final[1][k]).all()) for k in final[0])


def _empty() -> Any:
    from metabench.training import TrainingLog

    return TrainingLog()


def _stream(cell: Any, steps: int) -> Any:
    import torch

    from metabench.learners.contract import TaskStream
    from metabench.running.cell import addresses

    preset = cell.suite.get_preset("smoke")
    budget = preset.budget.model_copy(update={"steps": steps})
    return TaskStream(
        cell.source.info, cell.source.train, addresses(cell)[0], budget, torch.device("cpu")
    )


def test_a_submission_cannot_spend_more_than_its_budget(tmp_path: Path) -> None:
    source = """
        from metabench.errors import MetabenchError
        from metabench.learners import StepLog

        class Learner(Base):
            def meta_fit(self, tasks, seed):
                got = 0
                while True:
                    try:
                        tasks.used = tasks.used.model_copy(update={"tasks": 0})
                        tasks.budget = tasks.budget.model_copy(update={"tasks": 10**9})
                        got += tasks.next(16).tasks
                    except MetabenchError:
                        raise RuntimeError(f"got {got} tasks")
                    yield StepLog(0.0)
    """
    mine = submission(tmp_path / "folder", source, name="greedy")
    chosen = suite(tmp_path / "suite", "clusters")
    record = only(metabench.run(mine, chosen, out=tmp_path / "run", workers=0), "greedy")
    assert record.used.tasks == 48
    assert record.error is not None
    assert "got 48 tasks" in record.error


def test_the_time_limit_of_a_call_is_a_time_limit_error(tmp_path: Path) -> None:
    source = """
        import time

        class Learner(Base):
            def setup(self, info, seed, device):
                time.sleep(3600)
    """
    limits = QUICK.model_copy(update={"call_seconds": 0.5})
    with pytest.raises(TimeLimitError, match="cheat: no answer"):
        ready(submission(tmp_path / "folder", source, limits=limits))
