"""metabench validate: what it asks for, what it writes, and when it fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import metabench.validity
from metabench.cli import app
from metabench.validity import KNOWN, MECHANISMS, NOTHING, Group, Judgements
from metabench.validity.known_groups import COLUMNS, name_of


def perfect(group: Group, replicates: int) -> Judgements:
    """Every demand of a group is met."""
    probes = list(group.designated) or ["gap"]
    labels = [*map(name_of, (*group.healthy, *group.broken)), *group.baselines]
    rows = [
        (label, probe, i, 0.1, 0.2, label in group.designated.get(probe, ()))
        for label in labels
        for probe in probes
        for i in range(replicates)
    ]
    return Judgements(pd.DataFrame(rows, columns=COLUMNS), group)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the study was asked for; replicates are as many as the broken ones."""
    seen: dict[str, object] = {}

    def study(
        groups: Sequence[Group], healthy: int, broken: int, workers: int, progress: object
    ) -> list[Judgements]:
        seen.update(groups=tuple(groups), healthy=healthy, broken=broken, workers=workers)
        return [perfect(group, broken) for group in groups]

    monkeypatch.setattr(metabench.validity, "study", study)
    return seen


def run(*arguments: str) -> int:
    return CliRunner().invoke(app, ["validate", *arguments]).exit_code


def test_both_parts_are_written_with_the_command_that_repeats_them(
    asked: dict[str, object], tmp_path: Path
) -> None:
    assert run("--broken", "60", "--out", str(tmp_path)) == 0
    assert asked["groups"] == (KNOWN, *MECHANISMS, NOTHING)
    assert asked["healthy"] == 200
    for name in ("known_groups", "mechanisms"):
        data = json.loads((tmp_path / f"{name}.json").read_bytes())
        assert data["command"] == "metabench validate --healthy 200 --broken 60"
        assert all(row["replicates"] == 60 for row in data["rows"])
    assert (tmp_path / "known_groups.svg").read_text().startswith("<svg")


def test_a_part_alone_leaves_the_other_as_it_was(asked: dict[str, object], tmp_path: Path) -> None:
    assert run("--broken", "60", "--part", "mechanisms", "--out", str(tmp_path)) == 0
    assert asked["groups"] == (*MECHANISMS, NOTHING)
    assert [path.name for path in tmp_path.iterdir()] == ["mechanisms.json"]


def test_too_few_replicates_to_prove_anything_are_a_failure(asked: dict[str, object]) -> None:
    assert run("--broken", "5") == 1
    assert asked["broken"] == 5
