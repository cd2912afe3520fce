"""Every cheat scores chance or ends in an error that names it, and the scorer is unharmed."""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import struct
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metabench
import metabench.scoring
from metabench.episodes import Support
from metabench.errors import ContractError, MetabenchError
from metabench.predictors import LearnerPredictor
from metabench.rng import Address
from metabench.scoring import score
from metabench.submission import audit
from metabench.submission.folder import check_folder, inside
from metabench.submission.sandbox import unavailable
from metabench.tasks.clusters import Clusters
from tests.submission.red_team.attacks import ATTACKS, CACHE, FRAMES, LATER, LOOT, POSITION, SEEDS
from tests.submission.scene import (
    CPU,
    HEADER,
    QUICK,
    accuracy,
    episodes_at,
    ready,
    secret,
    submission,
    write,
)

CHANCE = 0.2
POISON = struct.pack("<Q", 2**62) + b"{}"


@pytest.fixture(autouse=True)
def _sandbox() -> None:
    if unavailable() and "CI" not in os.environ:
        pytest.skip(unavailable())
    assert not unavailable(), unavailable()


@pytest.fixture
def _unaudited(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested stands without the audit, which would start a second worker."""
    monkeypatch.setattr(audit, "FIRST", 10**6)


def fingerprint() -> dict[str, Any]:
    """What an attack might change in the scorer."""
    gc.collect()  # a test that holds its error holds all that led to it
    files = [
        Path(module.__file__ or "") for module in (metabench, metabench.scoring, torch, np, os)
    ]
    return {
        "files": hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest(),
        "functions": [np.mean, torch.Tensor.mean, time.time, time.monotonic, score, sum],
        "modules": [id(sys.modules[name]) for name in ("torch", "numpy", "metabench", "json")],
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        "folder": os.getcwd(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": children(),
    }


def children() -> set[str]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set(task.joinpath("children").read_text().split())
    return found


@pytest.fixture
def scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Secrets of the scorer, and afterwards the proof that it is as it was."""
    folder = tmp_path / "CANARY"
    folder.mkdir()
    for name in ("record.json", "salt"):
        folder.joinpath(name).write_text("CANARY")
    monkeypatch.setenv("CANARY", "CANARY")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        name = f"CANARY{os.getpid()}"
        local.bind("\0" + name)
        local.listen()
        known = {
            "CANARY_FOLDER": str(folder),
            "CANARY_PORT": str(server.getsockname()[1]),
            "CANARY_SOCKET": name,
            "CANARY_PID": str(os.getpid()),
        }
        before = fingerprint()
        yield known
        assert fingerprint() == before


@pytest.mark.usefixtures("_unaudited")
@pytest.mark.parametrize("name", ATTACKS)
def test_a_cheat_ends_as_it_must(name: str, scorer: dict[str, str], tmp_path: Path) -> None:
    attack = ATTACKS[name]
    source = LOOT + attack.source
    for canary, value in scorer.items():
        source = source.replace(canary, value)
    folder = tmp_path / "folder"
    write(folder, source, attack.files)
    folder.joinpath("weights.safetensors").write_bytes(POISON)
    limits = QUICK.model_copy(update={"call_seconds": 1.0 if "sleep" in name else 15.0})

    def scored() -> float:
        return accuracy(ready(submission(folder, source, attack.files, limits=limits)), batches=2)

    if attack.ends is None:
        assert scored() == pytest.approx(CHANCE, abs=1e-6)
        return
    with pytest.raises(MetabenchError, match=attack.ends) as caught:
        scored()
    assert len(str(caught.value)) < 3000
    assert "\n" not in str(caught.value)


def in_process(source: str) -> Any:
    """The same cheat where scorer and learner share a process."""
    names: dict[str, Any] = {}
    exec(compile(HEADER + LOOT + source, "cheat.py", "exec"), names)
    return names["Learner"]()


def test_the_frames_do_hold_the_labels_where_learner_and_scorer_share_a_process() -> None:
    assert accuracy(in_process(FRAMES), audited=False) > 0.9


@pytest.mark.usefixtures("_unaudited")
def test_seeds_that_can_be_guessed_are_replayed_even_in_the_sandbox(tmp_path: Path) -> None:
    learner = ready(submission(tmp_path / "folder", SEEDS))
    predictor = LearnerPredictor(learner, CPU)
    guessed = episodes_at(Address.of("secret", 7), range(16))
    assert score(predictor(Clusters(), guessed), guessed).mean() == 1.0
    kept = episodes_at(secret(), range(16))
    assert score(predictor(Clusters(), kept), kept).mean() == pytest.approx(CHANCE)


@pytest.mark.usefixtures("_unaudited")
def test_the_position_of_a_query_says_nothing_of_its_class(tmp_path: Path) -> None:
    # 200 episodes of 25 queries: four standard errors.
    learner = ready(submission(tmp_path / "folder", POSITION))
    found = accuracy(learner, batches=13, audited=False)
    assert abs(found - CHANCE) < 4 * (CHANCE * (1 - CHANCE) / (13 * 16 * 25)) ** 0.5


def test_what_a_submission_remembers_of_earlier_episodes_is_found_out(tmp_path: Path) -> None:
    """The same queries come again under a condition that spoils the support."""
    predictor = LearnerPredictor(ready(submission(tmp_path / "folder", CACHE)), CPU)
    address = secret()
    clean = [episodes_at(address, range(i * 4, i * 4 + 4)) for i in range(audit.FIRST)]
    for episodes in clean:
        assert score(predictor(Clusters(), episodes), episodes).mean() > 0.5

    def later() -> None:
        for i in range(audit.EVERY):
            episodes = clean[i % len(clean)]
            s = episodes.support
            spoilt = Support(torch.randn_like(s.x), s.y, s.mask, s.way)
            state = predictor.learner.adapt(spoilt)
            output = predictor.learner.predict(state, episodes.query)
            assert score(output, episodes).mean() > 0.5  # the cheat works, until it is looked at

    with pytest.raises(ContractError, match="what else the process has met"):
        later()


def test_transduction_that_begins_after_the_audit_is_found_out(tmp_path: Path) -> None:
    learner = ready(submission(tmp_path / "folder", LATER))
    with pytest.raises(ContractError, match="what else the process has met"):
        accuracy(learner, batches=audit.FIRST + audit.EVERY)


def test_an_honest_learner_passes_every_audit(tmp_path: Path) -> None:
    source = """
        class Learner(Base):
            def predict(self, state, query):
                return Prediction(-torch.cdist(query.x, state.x))
    """
    learner = ready(submission(tmp_path / "folder", source))
    # Class ids are in the order of the support where there is one item a class.
    assert accuracy(learner, batches=audit.FIRST + 2 * audit.EVERY) > CHANCE - 0.1
    assert learner.session.auditor.schedule.blocks >= 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["../salt", "/etc/passwd", "a/../../salt", "..\\salt", "link", "", ".", "no\0name"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    tmp_path.joinpath("salt").write_text("secret")
    folder = write(tmp_path / "folder", "")
    folder.joinpath("link").symlink_to(tmp_path / "salt")
    with pytest.raises(MetabenchError, match="folder"):
        inside(folder, name)
    assert inside(folder, "learner.py") == folder / "learner.py"


@pytest.mark.parametrize("target", ["/etc/passwd", "../salt", "learner.py", "/proc/self"])
def test_a_folder_with_a_link_is_refused(target: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", "", {"deep/er/file.txt": ""})
    assert [str(f) for f in check_folder(folder)] == ["deep/er/file.txt", "learner.py"]
    folder.joinpath("deep/link").symlink_to(target)
    with pytest.raises(MetabenchError, match="links are not allowed"):
        submission(folder, "class Learner(Base): pass")


def test_a_pipe_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", "")
    os.mkfifo(folder / "pipe")
    with pytest.raises(MetabenchError, match="neither a file nor a folder"):
        check_folder(folder)


def test_an_archive_in_the_folder_is_not_unpacked(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", "")
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../escaped", bytes(2**20))
    check_folder(folder)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bomb.zip", "folder", "learner.py"]
