"""What a stranger does: begin, edit, check, submit, look at the board; and what goes wrong."""

from __future__ import annotations

import compileall
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.store import load_records
from metabench.submission.findings import look_through, open_submission
from metabench.submission.manifest import Manifest, load_manifest
from metabench.submission.remote import contained
from metabench.submission.starting import TEMPLATES, begin

SUITE = """
name = "small"
version = 1
title = "Clusters"
question = "Does a stranger get through?"
baselines = ["nearest-neighbour"]
oracle = "declared"
ceiling = 1.0

[preset.smoke]
seeds = 2
episodes = 32
budget = { tasks = 400, steps = 100, seconds = 120 }

[[source]]
name = "clusters"
train = { task = "clusters", spread = 1.0 }
episode = { way = 5, shot = 1, query = 5 }

[[source.condition]]
name = "overlap"
shift = "spread"
levels = [0.8]
"""


def invoked(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def edited(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_a_stranger_begins_edits_three_lines_checks_submits_and_is_on_a_board(
    tmp_path: Path,
) -> None:
    folder, suite, out = tmp_path / "wide-net", tmp_path / "suite", tmp_path / "run"
    suite.mkdir()
    (suite / "suite.toml").write_text(SUITE)
    begun = invoked("submission", "init", folder, "--template", "metric")
    assert begun.exit_code == 0
    edited(
        folder / "learner.py",
        ("nn.ReLU()", "nn.Tanh()"),
        ("size: int = 64", "size: int = 32"),
    )
    edited(folder / "submission.toml", ('"Your name"', '"A. Stranger"'))
    checked = invoked("check", folder)
    assert checked.exit_code == 0, checked.output
    assert "keeps the contract" in checked.output
    submitted = invoked("submit", folder, "--suite", suite, "--out", out)
    assert submitted.exit_code == 0, submitted.output
    assert "wide-net" in submitted.output
    assert "public episodes" in submitted.output
    records = [r for r in load_records(out).records if r.key.learner == "wide-net"]
    assert [(r.provenance, r.isolation, r.status) for r in records] == [
        ("verified", records[0].isolation, "ok")
    ] * 2
    assert records[0].isolation in ("sandbox", "process")
    assert records[0].key.parameters["size"] == 32
    assert invoked("board", "show", out).output.count("wide-net") == 1
    # What changes in the folder makes another learner of it.
    edited(folder / "learner.py", ("nn.Tanh()", "nn.ReLU()"))
    again = contained(load_manifest(folder), folder, isolation="process", audits=False)
    assert again.folder_digest != records[0].key.learner_digest


@pytest.mark.parametrize("template", sorted(t.name for t in TEMPLATES.iterdir()))
def test_every_template_is_a_sound_folder_named_after_its_place(
    template: str, tmp_path: Path
) -> None:
    begin(tmp_path / "My First_Try", template)
    manifest, problems = look_through(tmp_path / "My First_Try")
    assert [p for p in problems if "is not installed: pip install" not in p] == []
    assert manifest is not None
    assert manifest.name == "my-first-try"


def test_what_an_installer_compiled_beside_a_template_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "templates"
    shutil.copytree(TEMPLATES, own, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(own, quiet=1)
    assert (own / "metric" / "__pycache__").is_dir()
    monkeypatch.setattr("metabench.submission.starting.TEMPLATES", own)
    written = begin(tmp_path / "x", "metric")
    assert sorted(p.name for p in written) == ["README.md", "learner.py", "submission.toml"]


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MetabenchError, match="is there already and not empty"):
        begin(tmp_path, "metric")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('name = "x"', 'name = "maml"'), "'maml' is a shipped learner's"),
        (('family = "metric"', 'family = "mertic"'), "family: Input should be 'metric'"),
        (('version = "1"', 'verison = "1"'), "unknown field 'verison'"),
        (('"learner:Learner"', '"lerner:Learner"'), "entry: the folder has no lerner.py"),
        (('"learner:Learner"', '"../learner:Learner"'), "entry: String should match"),
        (("training_data = []", ""), "training_data: Field required"),
    ],
)
def test_a_mistake_in_the_manifest_is_one_line_with_file_and_field(
    change: tuple[str, str], told: str, tmp_path: Path
) -> None:
    begin(tmp_path / "x", "metric")
    edited(tmp_path / "x" / "submission.toml", change)
    result = invoked("check", tmp_path / "x")
    assert result.exit_code == 1
    assert "submission.toml" in result.output
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_every_file_that_is_not_accepted_is_named_with_the_fix(tmp_path: Path) -> None:
    begin(tmp_path / "x", "metric")
    for name in ("net.pt", "fast.so", "data.zip", "data.npy"):
        (tmp_path / "x" / name).write_bytes(b"anything")
    (tmp_path / "x" / "util.py").write_text("def broken(:\n")
    _, problems = look_through(tmp_path / "x")
    assert len(problems) == 5
    text = "\n".join(problems)
    for said in ("net.pt: may hold pickled code", "fast.so: compiled", "data.zip: archives"):
        assert said in text
    assert "util.py:1: not valid Python" in text
    with pytest.raises(MetabenchError, match="and 4 more"):
        open_submission(tmp_path / "x")


@pytest.mark.parametrize(
    ("requirement", "told"),
    [
        ("torch>=2", ""),
        ("no-such-package", "no-such-package is not installed: pip install 'no-such-package'"),
        ("torch>=99", "is installed: pip install 'torch>=99'"),
        ("no-such-package; sys_platform == 'none'", ""),
        ("two words", "'two words' is no requirement"),
    ],
)
def test_what_has_to_be_installed_is_looked_for(
    requirement: str, told: str, tmp_path: Path
) -> None:
    begin(tmp_path / "x", "metric")
    added = f'requirements = ["{requirement}"]\ntraining_data = []'
    edited(tmp_path / "x" / "submission.toml", ("training_data = []", added))
    _, problems = look_through(tmp_path / "x")
    assert len(problems) == bool(told)
    assert told in "".join(problems)


def weighted(folder: Path, digest: str | None = None) -> tuple[Manifest | None, list[str]]:
    """The metric template with a file of weights."""
    import hashlib

    path = folder / "weights.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest() if digest is None else digest
    with (folder / "submission.toml").open("a") as file:
        file.write(f'\n[weights]\nfile = "weights.safetensors"\nsha256 = "{found}"\n')
    edited(folder / "submission.toml", ("training_data = []", 'training_data = ["noise"]'))
    return look_through(folder)


def test_weights_are_what_the_learner_starts_from(tmp_path: Path) -> None:
    begin(tmp_path / "x", "sklearn")
    (tmp_path / "x" / "learner.py").write_text(
        "import torch\n"
        "from metabench import LearnerCard, MetaLearner, Prediction\n"
        "class Learner(MetaLearner):\n"
        "    card = LearnerCard('x', 'other', ('classification',))\n"
        "    def adapt(self, support): return support\n"
        "    def predict(self, state, query):\n"
        "        return Prediction(self.bias.expand(*query.x.shape[:2], -1))\n"
        "    def state_dict(self): return {'bias': self.bias}\n"
        "    def load_state_dict(self, state): self.bias = state['bias'].clone()\n"
    )
    save_file({"bias": torch.arange(5.0)}, tmp_path / "x" / "weights.safetensors")
    manifest, problems = weighted(tmp_path / "x")
    assert problems == []
    assert manifest is not None
    from tests.submission.scene import episodes_at, ready, secret

    learner = ready(contained(manifest, tmp_path / "x", isolation="process", audits=False))
    episodes = episodes_at(secret(), range(2))
    output = learner.predict(learner.adapt(episodes.support), episodes.query).output
    assert output[0, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_weights_that_were_exchanged_or_are_no_arrays_are_refused(tmp_path: Path) -> None:
    for name, data, digest, told in (
        ("other", b"\x00" * 64, "0" * 64, "SHA-256 is"),
        ("poisoned", b"\xff" * 8 + b"{}", None, "no valid safetensors file"),
    ):
        begin(tmp_path / name, "metric")
        (tmp_path / name / "weights.safetensors").write_bytes(data)
        _, problems = weighted(tmp_path / name, digest)
        assert len(problems) == 1
        assert told in problems[0]
