"""Regression with several outputs, and vectors as inputs."""

from __future__ import annotations

import pytest
import torch

from metabench.episodes import Query, Support
from metabench.learners import LEARNERS
from metabench.learners.contract import TaskInfo
from metabench.tasks import Shape
from tests.conftest import CPU

GENERAL = [
    n
    for n in LEARNERS
    if "regression" in (card := LEARNERS.get(n).card).kinds
    and card.family != "control"
    and n != "fourier-ridge"
]


@pytest.mark.parametrize("name", GENERAL)
def test_targets_may_have_several_dimensions(name: str) -> None:
    """A constant target of three numbers is learned, or at least predicted in its shape."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 8, 5, generator=generator)
    y = torch.tensor([1.0, -2.0, 0.5]).expand(4, 8, 3).contiguous()
    support = Support(x, y, torch.ones(4, 8, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
    query = Query(x[:, :6], torch.ones(4, 6, dtype=torch.bool))
    learner = LEARNERS.get(name)()
    learner.setup(TaskInfo("regression", (5,), 3, Shape(shot=8, query=6), 0), 0, CPU)
    output = learner.predict(learner.adapt(support), query).output
    assert output.shape == (4, 6, 3)
    if name in ("ridge", "nearest-neighbour", "scratch"):
        assert torch.allclose(output, y[:, :6], atol=0.5)
