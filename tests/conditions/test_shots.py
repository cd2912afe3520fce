"""Unequal shots and unequal queries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metabench.conditions import INTERVENTIONS, Setting, intervene
from metabench.conditions.shots import Imbalance, StepImbalance
from metabench.episodes import Episodes
from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.suite import ConditionSpec, SourceSpec
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from tests.tasks.test_pool import Numbered, identity

ADDRESS, POOL = Address.of("tests", "shots"), Numbered()
SHAPE = Shape(way=5, shot=3, query=2)


def changed(
    name: str,
    value: float,
    indices: range = range(70),
    shape: Shape = SHAPE,
    task: TaskDistribution = POOL,
) -> Episodes:
    before = sample(task, shape, ADDRESS, indices)
    return intervene(before, Setting(name, value, "query", task, shape, ADDRESS, indices))


def per_class(e: Episodes) -> torch.Tensor:
    return torch.stack([(e.support.y == c).logical_and(e.support.mask).sum(1) for c in range(5)], 1)


@pytest.mark.parametrize("name", ["imbalance", "step-imbalance", "query-prior"])
def test_an_episode_is_changed_alike_in_any_batch(name: str) -> None:
    together = changed(name, 2.0)
    alone = [changed(name, 2.0, range(i, i + 1)) for i in range(70)]
    assert torch.equal(together.support.x, torch.cat([e.support.x for e in alone]))
    assert torch.equal(together.support.y, torch.cat([e.support.y for e in alone]))
    assert torch.equal(together.query.x, torch.cat([e.query.x for e in alone]))
    assert torch.equal(together.query_y, torch.cat([e.query_y for e in alone]))


@given(st.integers(2, 12), st.integers(1, 20), st.sampled_from([1.0, 2.0, 5.0, 9.0, 19.0]))
@settings(max_examples=60, deadline=None)
def test_counts_ascend_and_have_the_shot_for_mean(way: int, shot: int, ratio: float) -> None:
    shape = Shape(way=way, shot=shot, query=1)
    for kind in (Imbalance(), StepImbalance()):
        try:
            counts = kind.shots(shape, ratio)
        except MetabenchError:
            assert way * shot * kind.ratios(way, ratio)[0] / kind.ratios(way, ratio).sum() < 1
            continue
        assert counts.sum() == way * shot
        assert counts[0] >= 1
        assert (np.diff(counts) >= 0).all()
        exact = way * shot * kind.ratios(way, ratio) / kind.ratios(way, ratio).sum()
        assert np.abs(counts - exact).max() < 1


def test_counts_are_those_of_the_ratio() -> None:
    assert Imbalance().shots(Shape(way=5, shot=5, query=1), 9).tolist() == [1, 3, 5, 7, 9]
    assert Imbalance().shots(Shape(way=5, shot=10, query=1), 19).tolist() == [1, 6, 10, 14, 19]
    assert StepImbalance().shots(Shape(way=4, shot=5, query=1), 9).tolist() == [1, 1, 9, 9]
    assert Imbalance().shots(SHAPE, 1).tolist() == [3] * 5


@pytest.mark.parametrize("name", ["imbalance", "step-imbalance"])
def test_each_class_has_its_count_and_queries_stay(name: str) -> None:
    before, after = sample(POOL, SHAPE, ADDRESS, range(70)), changed(name, 2.0)
    counts = INTERVENTIONS.get(name).shots(SHAPE, 2.0)  # type: ignore[attr-defined]
    assert torch.equal(per_class(after).sort(1).values, torch.from_numpy(counts).expand(70, 5))
    assert len({tuple(row) for row in per_class(after).tolist()}) > 5, "any class may be rare"
    assert after.support.mask.all()
    assert torch.equal(after.query.x, before.query.x)
    assert torch.equal(after.query_y, before.query_y)
    # The classes have their labels still, and no item is in support and query.
    for i in range(70):
        named = zip(
            before.query_y[i].tolist(), identity(before.query.x[i])[0].tolist(), strict=True
        )
        known = dict(named)
        which, item = identity(after.support.x[i])
        assert [known[int(y)] for y in after.support.y[i]] == which.tolist()
        query = set(zip(*(t.tolist() for t in identity(after.query.x[i])), strict=True))
        assert not query & set(zip(which.tolist(), item.tolist(), strict=True))


def test_which_class_is_rare_does_not_depend_on_its_label() -> None:
    counts = per_class(changed("imbalance", 5.0, range(2000))).double()
    error = counts.std(0) / 2000**0.5
    assert bool(((counts.mean(0) - 3).abs() < 4 * error).all())


def test_an_impossible_imbalance_is_refused_before_any_episode() -> None:
    with pytest.raises(MetabenchError, match="needs a mean shot of 10 or more, found 5"):
        Imbalance().needed(Shape(way=5, shot=5, query=1), 19)
    with pytest.raises(MetabenchError, match="same way and shot"):
        Imbalance().needed(Shape(way=5, shot=(2, 5), query=1), 2)
    assert Imbalance().needed(Shape(way=5, shot=5, query=1), 9).shot == 9


def test_a_small_alpha_leaves_few_classes_and_a_large_one_all() -> None:
    shape, task = Shape(way=4, shot=1, query=8), Clusters()
    left = {}
    for alpha in (0.5, 2.0, 5.0, 1e6):
        e = changed("query-prior", alpha, range(600), shape, task)
        counts = torch.stack([(e.query_y == c).logical_and(e.query.mask).sum(1) for c in range(4)])
        left[alpha] = float(counts.double().mean())
        assert bool((counts.amax(0) == 8).all()), "one class keeps all of its queries"
        assert not e.query.mask.int().diff(dim=1).gt(0).any(), "padding is last"
        assert not e.query.x[~e.query.mask].any()
    assert left[0.5] < left[2.0] < left[5.0] < left[1e6]
    assert left[1e6] == pytest.approx(8.0, abs=0.05)


def test_proportions_of_queries_are_dirichlet() -> None:
    """The rarer of two classes over the sum: against draws of a Dirichlet distribution."""
    shape, task = Shape(way=2, shot=1, query=40), Clusters(shape=(1,))
    e = changed("query-prior", 1.0, range(2000), shape, task)
    first = ((e.query_y == 0) & e.query.mask).sum(1).double()
    # Beta(1, 1) is uniform: P(share of the first class < t) = t.
    share = first / e.query.mask.sum(1)
    for t in (0.2, 0.5, 0.8):
        assert float((share < t).double().mean()) == pytest.approx(t, abs=0.05)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"shift": "imbalance", "levels": [2, 19]}, "needs a mean shot of 10 or more, found 3"),
        ({"shift": "contrast", "levels": [1, 6]}, "severity must be 1, 2, 3, 4 or 5, found 6"),
    ],
)
def test_a_level_that_cannot_be_is_refused_when_the_suite_is_read(
    condition: dict[str, object], message: str
) -> None:
    source = {
        "name": "s",
        "train": {"task": "clusters", "shape": [1, 28, 28]},
        "episode": {"way": 5, "shot": 3, "query": 2},
        "condition": [{"name": "c", **condition}],
    }
    with pytest.raises(ValidationError, match=message):
        SourceSpec.model_validate(source)


def test_an_imbalance_that_the_pool_has_no_items_for_is_refused_before_training() -> None:
    source = SourceSpec(
        name="s",
        train=POOL,
        episode=Shape(way=5, shot=5, query=1),
        condition=[ConditionSpec(name="c", shift="imbalance", levels=[5.0])],
    )
    with pytest.raises(MetabenchError, match=r"shot \+ query is 9"):
        source.prepare()
