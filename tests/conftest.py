"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metabench.learners.contract import TaskInfo, TaskStream
from metabench.records import Budget
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution

TINY = Path(__file__).parent / "data" / "tiny"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tiny() -> Path:
    """The folder of a suite that runs in about a second."""
    return TINY


def stream_of(
    distribution: TaskDistribution, shape: Shape, *, tasks: int = 10**6, steps: int = 10**6
) -> TaskStream:
    """A stream of meta-training tasks with plenty of budget."""
    way = shape.way if isinstance(shape.way, int) else shape.way[1]
    info = TaskInfo(
        distribution.kind, distribution.input_shape, distribution.output_dim, shape, way
    )
    budget = Budget(tasks=tasks, steps=steps, seconds=1e6)
    return TaskStream(info, distribution, Address.of("tests"), budget, CPU)
