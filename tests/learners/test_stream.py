"""The stream of meta-training tasks."""

from __future__ import annotations

import torch

from metabench.episodes import Episodes
from metabench.tasks import Shape
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import stream_of

SHAPE = Shape(shot=(2, 5), query=3)


def same(a: Episodes, b: Episodes) -> bool:
    return torch.equal(a.support.x, b.support.x) and torch.equal(a.query_y, b.query_y)


def test_small_episodes_are_drawn_ahead_and_are_those_drawn_one_by_one() -> None:
    ahead, singly = stream_of(Sinusoid(), SHAPE), stream_of(Sinusoid(), SHAPE)
    for count in (4, 4, 4, 7, 7, 1, 300, 300, 2):
        batch = ahead.next(count)
        ones = [singly.next(1) for _ in range(count)]
        assert torch.equal(batch.support.x, torch.cat([e.support.x for e in ones]))
        assert torch.equal(batch.query_y, torch.cat([e.query_y for e in ones]))
    assert ahead.used == singly.used
    assert ahead._ahead is not None


def test_another_shape_and_a_resumed_stream_are_not_served_what_was_drawn_ahead() -> None:
    stream = stream_of(Sinusoid(), SHAPE)
    first = stream.next(5)
    more = stream.next(5, query=6)
    assert more.query.x.shape[1] == 6
    stream.used = stream.used.model_copy(update={"tasks": 0})
    assert same(stream.next(5), first)


def test_large_episodes_are_not_drawn_ahead() -> None:
    stream = stream_of(Clusters(shape=(1, 28, 28)), Shape(way=5, shot=1, query=15))
    stream.next(4)
    assert stream._ahead is None
