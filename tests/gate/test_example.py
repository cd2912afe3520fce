"""The example repository, guarded by tox as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ci"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    shutil.copytree(
        EXAMPLE, root, ignore=shutil.ignore_patterns(".metabench", ".tox", "__pycache__")
    )
    return root


def tox(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Its own tox.ini, in an environment that finds what is installed here: no download."""
    installed = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    # The entry point makes the plugin known where metabench is installed; here it may not be.
    settings = f"PYTHONPATH={installed}\nPYTEST_PLUGINS=metabench.pytest_plugin\nOMP_NUM_THREADS=1"
    command = [sys.executable, "-m", "tox", "run", "--skip-pkg-install"]
    command += ["-x", "testenv:metabench.deps=", "-x", f"testenv:metabench.set_env={settings}"]
    return subprocess.run(
        [*command, "--", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("TOX", "PYTEST"))},
    )


def test_tox_guards_the_example_from_its_first_commit_on(repository: Path) -> None:
    first = tox(repository, "--first")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "smooth passes" in first.stdout
    assert "4 passed" in first.stdout
    kernel = repository / "my_learner" / "kernel.py"
    text = kernel.read_text()
    kernel.write_text(text.replace("2 * length**2", "20 * length**2"))
    assert kernel.read_text() != text
    worse = tox(repository, "--github", "--junit", "out.xml")
    assert worse.returncode == 1, worse.stdout + worse.stderr
    assert "25 cells, 20 already finished" in worse.stdout
    assert "::error title=metabench%3A FAIL%3A overall difference::-" in worse.stdout
    assert "smooth is held back" in worse.stdout
    failures = ElementTree.parse(repository / "out.xml").getroot().get("failures")
    assert int(failures or 0) >= 4
