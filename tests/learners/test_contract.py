"""The stream of meta-training tasks: what it hands out, and what it charges for it."""

from __future__ import annotations

import pytest
import torch

from metabench.errors import BudgetExhausted
from metabench.learners.contract import TaskStream
from metabench.tasks import Shape
from tests.conftest import stream_of
from tests.tasks.test_pool import CLASSES, Numbered, identity

SHAPE = Shape(way=3, shot=1, query=3)
EPISODE = 12
"""Items of one episode."""


def stream(tasks: int = 10**6) -> TaskStream:
    return stream_of(Numbered(), SHAPE, tasks=tasks)


def test_labelled_items_are_named_by_their_class() -> None:
    tasks = stream()
    x, y = tasks.labelled(96)
    assert x.shape == (96, 1, 28, 28)
    assert torch.equal(y, identity(x)[0])
    assert tasks.classes == CLASSES
    assert torch.equal(y.bincount(), torch.full((CLASSES,), 8)), "96 items are one epoch"


def test_labelled_items_do_not_depend_on_the_batch_or_on_an_interruption() -> None:
    whole = stream().labelled(5 * EPISODE)
    tasks = stream()
    first = tasks.labelled(2 * EPISODE)
    resumed = stream()
    resumed.used = tasks.used
    rest = resumed.labelled(3 * EPISODE)
    for both, a, b in zip(whole, first, rest, strict=True):
        assert torch.equal(both, torch.cat([a, b]))


@pytest.mark.parametrize(("count", "charged"), [(1, 1), (12, 1), (13, 2), (60, 5)])
def test_labelled_items_cost_the_episodes_that_would_hold_them(count: int, charged: int) -> None:
    tasks = stream()
    assert tasks.cost(count) == charged
    tasks.labelled(count)
    assert (tasks.used.tasks, tasks.used.examples) == (charged, count)
    tasks.next(2)
    assert (tasks.used.tasks, tasks.used.examples) == (charged + 2, count + 2 * EPISODE)


def test_labelled_items_end_with_the_budget() -> None:
    tasks = stream(tasks=3)
    tasks.labelled(2 * EPISODE)
    with pytest.raises(BudgetExhausted, match="3 tasks"):
        tasks.labelled(EPISODE + 1)
    tasks.labelled(EPISODE)
