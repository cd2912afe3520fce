"""The submissions of the repository are sound, and learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.submission.findings import look_through, open_submission
from metabench.submission.remote import contained
from tests.submission.scene import accuracy, ready

EXAMPLES = sorted(
    path.parent for path in Path(__file__).parents[2].glob("examples/submissions/*/submission.toml")
)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_sound_folder_of_its_own_name(folder: Path) -> None:
    manifest, problems = look_through(folder)
    assert [p for p in problems if "is not installed: pip install" not in p] == []
    assert manifest is not None
    assert manifest.name == folder.name


def test_the_linear_probe_learns_in_a_worker() -> None:
    (folder,) = [path for path in EXAMPLES if path.name == "linear-probe"]
    learner = contained(open_submission(folder), folder, isolation="process", audits=False)
    assert accuracy(ready(learner), audited=False) > 0.6  # chance is 0.2
