"""Progress in plain lines."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from metabench.cli.progress import PLAIN_SECONDS, ProgressWatcher
from metabench.running.cell import Event
from metabench.running.plan import plan


def test_a_training_shows_steps_and_tasks_a_second(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    watcher = ProgressWatcher(Console(file=out, width=200), None)
    cell = next(c for c in plan(["maml"], [tiny], "smoke", 1) if c.key.learner == "maml")
    clock = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    watcher.planned(1, [cell], 1)
    watcher.started(cell)
    clock += PLAIN_SECONDS + 5
    watcher.event(Event(cell.id, "training", 100, 1100, 0.5, 2500))
    assert out.getvalue().splitlines()[-1].endswith("training 100/1100 steps loss 0.500")
    clock += PLAIN_SECONDS + 5
    watcher.event(Event(cell.id, "training", 500, 1100, 0.25, 12500))
    line = out.getvalue().splitlines()[-1]
    assert "training 500/1100 steps loss 0.250, 20 steps/s, 500 tasks/s, 30 s left" in line
