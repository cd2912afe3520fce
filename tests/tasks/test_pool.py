"""Class pools: which episodes are drawn, and what their positions and labels give away."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metabench.errors import MetabenchError
from metabench.rng import BLOCK, Address, draw
from metabench.tasks import Shape, sample
from metabench.tasks.base import Planner
from metabench.tasks.pool import ClassPool, PoolDistribution, rotated

ADDRESS = Address.of("tests", "pool")
CLASSES, ITEMS = 12, 8
GOLDEN = (
    [[1, 2, 0], [2, 1, 0], [1, 2, 0]],
    [[2, 7, 8], [0, 9, 4], [2, 3, 8]],
    [[4, 3, 3], [6, 2, 7], [7, 6, 7]],
)
"""Labels, classes and items of the supports of three episodes."""


@lru_cache(maxsize=1)
def numbered() -> ClassPool:
    """A pool whose image says its class and item: pixel (0, 0) and pixel (0, 1)."""
    images = torch.zeros(CLASSES, ITEMS, 1, 28, 28, dtype=torch.uint8)
    images[..., 0, 0] = torch.arange(1, CLASSES + 1)[:, None, None]
    images[..., 0, 1] = torch.arange(1, ITEMS + 1)[None, :, None]
    group = np.repeat(np.arange(3), [3, 4, 5])
    return ClassPool.of(images, group, tuple(f"c{i}" for i in range(CLASSES)), ("a", "b", "c"))


class Numbered(PoolDistribution):
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "for tests"
    data_set: ClassVar[str] = "numbered"

    def base_pool(self) -> ClassPool:
        return numbered()


def identity(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Class and item of images, -1 where padded."""
    pixels = (x * 255).round().long()
    return pixels[..., 0, 0, 0] - 1, pixels[..., 0, 0, 1] - 1


SHAPES = st.builds(
    lambda way, more, shot, extra, query: Shape(
        way=(way, way + more), shot=(shot, shot + extra), query=query
    ),
    way=st.integers(2, 5),
    more=st.integers(0, 4),
    shot=st.integers(1, 2),
    extra=st.integers(0, 2),
    query=st.integers(1, 3),
)


@given(SHAPES, st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_an_episode_is_the_same_in_any_batch_and_order(shape: Shape, indices: list[int]) -> None:
    together = sample(Numbered(), shape, ADDRESS, indices)
    for row, i in enumerate(indices):
        alone = sample(Numbered(), shape, ADDRESS, [i])
        assert torch.equal(together.support.x[row], alone.support.x[0])
        assert torch.equal(together.query.x[row], alone.query.x[0])
        assert torch.equal(together.query_y[row], alone.query_y[0])


@given(SHAPES)
@settings(max_examples=25, deadline=None)
def test_labels_name_classes_and_no_item_is_in_both_sets(shape: Shape) -> None:
    e = sample(Numbered(), shape, ADDRESS, range(BLOCK))
    for t in range(BLOCK):
        classes: dict[int, int] = {}
        seen: set[tuple[int, int]] = set()
        for x, y, mask in (
            (e.support.x[t], e.support.y[t], e.support.mask[t]),
            (e.query.x[t], e.query_y[t], e.query.mask[t]),
        ):
            which, item = identity(x)
            for c, i, label, valid in zip(which, item, y, mask, strict=True):
                if not valid:
                    assert int(c) == -1
                    assert int(label) == 0
                    continue
                assert classes.setdefault(int(label), int(c)) == int(c)
                assert (int(c), int(i)) not in seen
                seen.add((int(c), int(i)))
        assert sorted(classes) == list(range(int(e.support.way[t])))
        assert len(set(classes.values())) == len(classes)
        per_class = torch.bincount(e.support.y[t][e.support.mask[t]])
        assert len(set(per_class.tolist())) == 1, "every class has as many shots"


def test_within_a_group_all_classes_share_it_and_small_groups_are_left_out() -> None:
    e = sample(Numbered(within_group=True), Shape(way=4, shot=1, query=1), ADDRESS, range(300))
    which, _ = identity(e.support.x)
    groups = torch.from_numpy(numbered().group)[which]
    assert (groups == groups[:, :1]).all()
    assert set(groups.unique().tolist()) == {1, 2}


def test_the_label_of_a_class_is_uniform_and_independent_of_the_class() -> None:
    e = sample(Numbered(), Shape(way=4, shot=1, query=1), ADDRESS, range(4000))
    which, _ = identity(e.support.x)
    table = np.zeros((CLASSES, 4))
    np.add.at(table, (which.flatten().numpy(), e.support.y.flatten().numpy()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4
    assert stats.chisquare(table.sum(1)).pvalue > 1e-4


def test_positions_tell_nothing_about_labels() -> None:
    """The cheat that answers a query by its position scores chance, in every position."""
    e = sample(Numbered(), Shape(way=4, shot=2, query=2), ADDRESS, range(4000))
    for y in (e.support.y, e.query_y):
        counts = torch.stack([(y == c).sum(0) for c in range(4)]).numpy()
        assert min(stats.chisquare(counts[:, i]).pvalue for i in range(8)) > 1e-4
    agree = (e.support.y == e.query_y).double().mean()
    assert float(agree) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 32_000) ** 0.5)


def test_a_larger_way_or_shot_keeps_the_first_classes_and_items() -> None:
    def plan(**change: int) -> dict[str, np.ndarray]:
        shape = Shape(**{"way": 3, "shot": 1, "query": 2, **change})
        return dict(draw(Planner(Numbered(), shape), ADDRESS, range(100)))

    small, wide, deep = plan(), plan(way=6), plan(shot=4)
    assert np.array_equal(small["classes"], wide["classes"][:, :3])
    assert np.array_equal(np.sort(small["query"], 1), np.sort(deep["query"], 1))
    assert all(set(a) <= set(b) for a, b in zip(small["support"], deep["support"], strict=True))


def test_turns_are_classes_of_their_own_in_the_same_group() -> None:
    pool = rotated(numbered())
    assert pool.classes == 4 * CLASSES
    assert np.array_equal(pool.group[::4], numbered().group)
    assert torch.equal(pool.images[5], torch.rot90(numbered().images[1], 1, dims=(-2, -1)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Shape(way=13, shot=1, query=1), "way is 13, but numbered has 12"),
        (Shape(way=2, shot=6, query=3), r"shot \+ query is 9"),
        (Shape(way=1, shot=1, query=1), "way must be at least 2"),
    ],
)
def test_an_impossible_episode_is_refused(shape: Shape, message: str) -> None:
    with pytest.raises(MetabenchError, match=message):
        Numbered().check_shape(shape)


def test_a_groups_size_bounds_the_way_within_it() -> None:
    with pytest.raises(MetabenchError, match="way is 6, but numbered has 5 in its largest group"):
        Numbered(within_group=True).check_shape(Shape(way=6, shot=1, query=1))


def test_the_digest_covers_every_pixel_and_name() -> None:
    pool = numbered()
    images = pool.images.clone()
    images[0, 0, 0, 5, 5] += 1
    changed = ClassPool.of(images, pool.group, pool.class_names, pool.group_names)
    renamed = ClassPool.of(pool.images, pool.group, pool.class_names, ("a", "b", "d"))
    assert len({pool.digest, changed.digest, renamed.digest}) == 3


@pytest.mark.parametrize("within", [False, True])
def test_a_class_with_a_fixed_label_has_it_in_every_task(within: bool) -> None:
    task, shape = Numbered(fixed_labels=True, within_group=within), Shape(way=3, shot=1, query=2)
    e = sample(task, shape, ADDRESS, range(600))
    which, _ = identity(e.query.x)
    assert torch.equal(which % 3, e.query_y)
    assert set(which.flatten().tolist()) == set(range(CLASSES))
    if within:
        groups = torch.from_numpy(numbered().group)[which]
        assert (groups == groups[:, :1]).all()


def test_classes_of_a_label_are_drawn_alike_and_independently() -> None:
    e = sample(Numbered(fixed_labels=True), Shape(way=5, shot=1, query=1), ADDRESS, range(4000))
    which, _ = identity(e.support.x)
    counts = torch.bincount(which.flatten(), minlength=CLASSES).double()
    # Twelve classes and five labels: labels 0 and 1 have three classes, the others two.
    expected = 4000 * np.array([1 / 3 if c % 5 < 2 else 1 / 2 for c in range(CLASSES)])
    for label in range(5):
        own = counts[label::5].numpy()
        assert stats.chisquare(own, expected[label::5]).pvalue > 1e-4
    order = e.support.y.argsort(1)
    by_label = which.gather(1, order) // 5
    table = np.zeros((3, 3))
    np.add.at(table, (by_label[:, 0].numpy(), by_label[:, 1].numpy()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_fixed_labels_need_one_way_and_name_no_turn() -> None:
    with pytest.raises(MetabenchError, match="the same way"):
        Numbered(fixed_labels=True).check_shape(Shape(way=(2, 3), shot=1, query=1))
    with pytest.raises(MetabenchError, match="would name the turn"):
        Numbered(fixed_labels=True, rotations=True).check_shape(Shape(way=4, shot=1, query=1))
    Numbered(fixed_labels=True, rotations=True).check_shape(Shape(way=5, shot=1, query=1))


def test_episodes_without_fixed_labels_are_what_they_were() -> None:
    """Golden: a change here is a change of every published episode."""
    e = sample(Numbered(), Shape(way=3, shot=1, query=1), Address.of("golden"), range(3))
    which, item = identity(e.support.x)
    assert e.support.y.tolist() == GOLDEN[0]
    assert which.tolist() == GOLDEN[1]
    assert item.tolist() == GOLDEN[2]
