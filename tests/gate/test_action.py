"""The GitHub action and the workflow of the example, as far as a file can show it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from metabench import cli

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
WORKFLOW = yaml.safe_load((ROOT / "examples/ci/.github/workflows/metabench.yml").read_text())
SCRIPTS = [step for step in STEPS if "run" in step]


def test_it_is_a_composite_action_whose_every_step_is_whole() -> None:
    assert set(ACTION) >= {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    for step in STEPS:
        assert ("run" in step) != ("uses" in step)
        assert "run" not in step or step["shell"] == "bash"
        assert "uses" not in step or re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"])
    for name, about in ACTION["inputs"].items():
        assert set(about) == {"description", "default"}, name
        assert isinstance(about["default"], str), name


def test_what_it_refers_to_is_declared() -> None:
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    ids = {step["id"] for step in STEPS if "id" in step}
    assert set(re.findall(r"steps\.([\w-]+)\.", text)) == ids
    for step in SCRIPTS:
        known = {*step["env"], "RUNNER_TEMP", "GITHUB_OUTPUT"}
        assert set(re.findall(r"\$\{?([A-Z_]+)\b", step["run"])) <= known


def test_no_input_is_pasted_into_a_script() -> None:
    assert [step["name"] for step in SCRIPTS if "${{" in step["run"]] == []


@pytest.mark.parametrize("step", SCRIPTS, ids=lambda step: step["name"])
def test_its_scripts_are_bash(step: dict[str, Any]) -> None:
    subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


def test_its_gate_hands_on_the_exit_code_and_the_arguments(tmp_path: Path) -> None:
    (step,) = [step for step in SCRIPTS if step.get("id") == "gate"]
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$SEEN"\nexit 2\n')
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SEEN": str(tmp_path / "seen"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "CONFIG": "a b.toml; echo no",
        "ACCEPT": "always",
    }
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, check=False)
    assert done.returncode == 2
    assert (tmp_path / "output").read_text() == "exit-code=2\n"
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen == [
        "-m",
        "metabench",
        "ci",
        "--config",
        "a b.toml; echo no",
        "--github",
        "--accept",
    ]
    # And the command has these options.
    import typer

    (command,) = [c for c in cli.app.registered_commands if c.name == "ci"]
    assert command.callback is not None
    group = typer.main.get_command(cli.app)
    options = {o for p in group.commands["ci"].params for o in p.opts}  # type: ignore[attr-defined]
    assert {"--config", "--github", "--accept", "--first"} <= options


def test_the_workflow_gives_inputs_that_the_action_has() -> None:
    steps = WORKFLOW["jobs"]["gate"]["steps"]
    (used,) = [step for step in steps if step["uses"].startswith("metabench/")]
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert WORKFLOW["permissions"] == {"contents": "read"}
