"""docs/ci.md shows what is there."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from metabench.gate import Config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text()
EXAMPLE = ROOT / "examples" / "ci"


def block(language: str, containing: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (only,) = [b for b in found if containing in b]
    return str(only)


def test_the_configuration_and_the_environment_are_those_of_the_example() -> None:
    assert block("toml", "learner =") == (EXAMPLE / "metabench.toml").read_text()
    shown, there = configparser.ConfigParser(), configparser.ConfigParser()
    shown.read_string(block("ini", "testenv"))
    there.read_string((EXAMPLE / "tox.ini").read_text())
    assert shown["testenv:metabench"] == there["testenv:metabench"]
    Config.model_validate(tomllib.loads(block("toml", "learner =")))


def test_every_field_is_explained() -> None:
    fields = {*Config.model_fields, *Config.model_fields["gate"].annotation.model_fields}  # type: ignore[union-attr]
    # A failed cell never passes: its field has one value.
    assert [f for f in fields - {"gate", "failures"} if f"{f}`" not in PAGE] == []


def test_the_workflows_are_yaml_and_use_the_action_of_the_example() -> None:
    shown: dict[str, Any] = yaml.safe_load(block("yaml", "runs-on"))
    there = yaml.safe_load((EXAMPLE / ".github" / "workflows" / "metabench.yml").read_text())
    assert shown["jobs"]["gate"]["steps"] == there["jobs"]["gate"]["steps"]
    gitlab = yaml.safe_load(block("yaml", "image:"))
    assert all(isinstance(line, str) for line in gitlab["metabench"]["script"])
