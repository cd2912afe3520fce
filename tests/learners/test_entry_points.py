"""An installed distribution adds a learner."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.learners.contract import MetaLearner
from metabench.registry import Registry


def test_an_installed_distribution_adds_its_learner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far_learner.py").write_text(
        "from metabench import LearnerCard, MetaLearner\n"
        "class Far(MetaLearner):\n"
        "    card = LearnerCard('far', 'other', ('regression',))\n"
    )
    info = tmp_path / "far-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metabench.learners]\nfar = far_learner:Far\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    learners: Registry[type[MetaLearner[object]]] = Registry("learner", "metabench.learners")
    assert learners.get("far").card.name == "far"
