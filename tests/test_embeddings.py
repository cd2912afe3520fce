"""An image that many episodes share is embedded once, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from metabench import embeddings, evaluation
from metabench.embeddings import Tables
from metabench.episodes import Episodes, Query, Support
from metabench.errors import ContractError
from metabench.evaluation import evaluate, indexed_episodes_of
from metabench.learners import LEARNERS
from metabench.learners.embedding import embeds
from metabench.learners.metric.protonet import ProtoNet
from metabench.learners.metric.protonet_transductive import TransductiveProtoNet
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor
from metabench.rng import Address, Plan
from metabench.suite import Point
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.pool import ClassPool, PoolDistribution
from tests.conftest import CPU, stream_of

ADDRESS = Address.of("tests", "embeddings")
CLASSES, ITEMS = 10, 8
COUNT = 40
SHAPE = Shape(way=3, shot=2, query=2)
RAGGED = Shape(way=(2, 5), shot=(1, 4), query=2)
EMBEDDING = [n for n in LEARNERS if embeds(LEARNERS.get(n)())]


@lru_cache(maxsize=1)
def drawn() -> ClassPool:
    generator = torch.Generator().manual_seed(0)
    classes = torch.rand(CLASSES, 1, 1, 16, 16, generator=generator)
    noise = torch.rand(CLASSES, ITEMS, 1, 16, 16, generator=generator)
    images = (255 * (0.6 * classes + 0.4 * noise)).to(torch.uint8)
    names = tuple(str(c) for c in range(CLASSES))
    return ClassPool.of(images, np.zeros(CLASSES, dtype=np.int64), names, ("all",))


class Drawn(PoolDistribution):
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "for tests"
    data_set: ClassVar[str] = "drawn"

    def base_pool(self) -> ClassPool:
        return drawn()


class Brightened(Drawn):
    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        made = super().realise(plan, shape, device)
        return replace(made, query=replace(made.query, x=made.query.x * 2))


@dataclass(eq=False)
class Counting(ProtoNet):
    filters: int = 4

    def __post_init__(self) -> None:
        self.embedded: list[int] = []

    def embed_items(self, x: Tensor) -> Tensor:
        self.embedded.append(len(x))
        return super().embed_items(x)


def ready(learner: Any, task: TaskDistribution | None = None, shape: Shape = RAGGED) -> Any:
    learner.setup(stream_of(task or Drawn(), shape).info, 0, CPU)
    return learner


def small(name: str) -> Any:
    learner = LEARNERS.get(name)
    narrow = {"filters": 4} if "filters" in learner.__dataclass_fields__ else {}
    return ready(learner(**narrow))


def point(task: TaskDistribution | None = None, **options: Any) -> Point:
    return Point("somewhere", 0, task or Drawn(), options.pop("shape", SHAPE), **options)


class Unaudited(LearnerPredictor):
    def audit(self, episodes: Episodes) -> None:
        pass


def rows(learner: Any, *points: Point, kind: type[LearnerPredictor] = LearnerPredictor) -> Any:
    return evaluate(kind(learner, CPU), points, ADDRESS, COUNT, Measures("accuracy"))


def images_embedded(*points: Point) -> int:
    learner = ready(Counting(), points[0].distribution)
    rows(learner, *points, kind=Unaudited)
    return sum(learner.embedded)


ITEMS_OF_AN_EPISODE = 3 * (2 + 2)
BY_EPISODE = COUNT * ITEMS_OF_AN_EPISODE
FOR_THE_TABLE = 1 + 2 * evaluation.AUDITED * ITEMS_OF_AN_EPISODE
"""To learn the size of an embedding, and to compare with the learner itself."""


def test_no_learner_that_embeds_each_input_by_itself_has_ceased_to_say_so() -> None:
    assert set(EMBEDDING) >= {
        "anp",
        "baseline++",
        "cnp",
        "finetune",
        "matchingnet",
        "matchingnet-fce",
        "protonet",
        "r2d2",
        "relationnet",
        "simple-cnaps",
        "simpleshot",
        "snail",
        "transformer",
    }


@pytest.mark.parametrize("name", EMBEDDING)
def test_predictions_are_those_of_episodes_that_embed_their_own_images(name: str) -> None:
    learner, where = small(name), point(shape=RAGGED)
    table = Tables(learner, CPU, ADDRESS).of(where.distribution)
    assert table is not None
    predictor = LearnerPredictor(learner, CPU)
    for start in (0, 6):
        indices = range(start, start + 6)
        episodes = sample(where.distribution, RAGGED, ADDRESS, indices)
        got = table(where.distribution, indexed_episodes_of(where, ADDRESS, indices)).output
        expected = predictor(where.distribution, episodes).output
        asked = episodes.query.mask
        assert torch.equal(got[asked].isinf(), expected[asked].isinf())
        finite = expected[asked].isfinite()
        assert torch.allclose(got[asked][finite], expected[asked][finite], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rotations", [False, True])
def test_indexed_episodes_are_the_sampled_ones(rotations: bool) -> None:
    task = Drawn(rotations=rotations)
    images = sample(task, RAGGED, ADDRESS, range(20))
    indexed = indexed_episodes_of(point(task, shape=RAGGED), ADDRESS, range(20))
    fetch = task.catalogue(ADDRESS).fetch
    assert torch.equal(indexed.query_y, images.query_y)
    assert torch.equal(indexed.support.y, images.support.y)
    assert torch.equal(indexed.support.way, images.support.way)
    pairs: list[tuple[Support | Query, Support | Query]] = [
        (indexed.support, images.support),
        (indexed.query, images.query),
    ]
    for items, inputs in pairs:
        assert torch.equal(items.mask, inputs.mask)
        index = items.x[items.mask].squeeze(-1).numpy()
        assert torch.equal(fetch(index, CPU), inputs.x[inputs.mask])


def test_the_scores_of_an_evaluation_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    points = (point(), point(shape=RAGGED), point(Drawn(rotations=True)))
    once = rows(small("protonet"), *points)
    monkeypatch.setattr(evaluation, "embeds", lambda learner: False)
    by_episode = rows(small("protonet"), *points)
    pd.testing.assert_frame_equal(once, by_episode)
    assert 0.4 < once["value"].mean() < 1


def test_points_that_share_a_pool_embed_each_of_its_images_once() -> None:
    more = point(shape=Shape(way=5, shot=4, query=4))
    assert images_embedded(point(), more, point()) == CLASSES * ITEMS + FOR_THE_TABLE


@pytest.mark.parametrize(
    "where",
    [
        point(intervention="noise", value=0.2),
        point(intervention="inversion", value=1.0, on="support"),
        point(Brightened()),
        point(Clusters(shape=(1, 16, 16))),
    ],
    ids=["changed queries", "changed support", "changed by the task", "no pool"],
)
def test_where_images_are_an_episodes_own_they_are_embedded_by_episode(where: Point) -> None:
    assert images_embedded(where) == BY_EPISODE


def test_a_change_of_images_has_its_effect_after_points_without_one() -> None:
    learner = small("protonet")
    after = rows(learner, point(), point(intervention="inversion", value=1.0))[COUNT:]
    alone = rows(learner, point(intervention="inversion", value=1.0))
    assert after["value"].tolist() == alone["value"].tolist()
    assert after["value"].mean() < rows(learner, point())["value"].mean() - 0.1


def test_a_pool_too_large_for_the_table_is_embedded_by_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embeddings, "LARGEST", CLASSES * ITEMS * 4)
    assert images_embedded(point()) <= CLASSES * ITEMS + FOR_THE_TABLE
    # Rotations are a pool of their own, four times as large.
    assert images_embedded(point(Drawn(rotations=True))) == 1 + BY_EPISODE


def test_a_transductive_learner_is_never_embedded_by_item() -> None:
    assert not embeds(TransductiveProtoNet())
    assert not embeds(LEARNERS.get("nearest-neighbour")())


def filled(count: int) -> Tensor:
    learner = small("protonet")
    table = Tables(learner, CPU, ADDRESS).of(Drawn())
    assert table is not None
    table.rows.zero_()
    for indices in evaluation.chunks(point(), count, table.features):
        table(Drawn(), indexed_episodes_of(point(), ADDRESS, indices))
    return table.rows


def test_the_same_evaluation_has_the_same_bits() -> None:
    assert torch.equal(filled(5), filled(5))
    points = (point(), point(shape=RAGGED))
    first, again = rows(small("r2d2"), *points), rows(small("r2d2"), *points)
    assert (first["value"] == again["value"]).all()


def test_only_items_that_are_used_are_embedded_and_padding_is_zero() -> None:
    learner = ready(Counting())
    table = Tables(learner, CPU, ADDRESS).of(Drawn())
    assert table is not None
    table.rows.fill_(float("nan"))
    learner.embedded.clear()
    indexed = indexed_episodes_of(point(shape=RAGGED), ADDRESS, range(3))
    got = table.look_up(indexed.support)
    used = indexed.support.x[indexed.support.mask].unique()
    assert sum(learner.embedded) == len(used)
    assert np.flatnonzero(table.met).tolist() == used.tolist()
    assert not bool(indexed.support.mask.all())
    assert (got.x[~got.mask] == 0).all()
    assert got.x.isfinite().all()


def test_the_order_in_which_items_are_embedded_does_not_tell_their_class() -> None:
    seen: list[Tensor] = []

    @dataclass(eq=False)
    class Watching(Counting):
        def embed_items(self, x: Tensor) -> Tensor:
            seen.append(x)
            return super().embed_items(x)

    table = Tables(ready(Watching()), CPU, ADDRESS).of(Drawn())
    assert table is not None
    seen.clear()
    indices = torch.arange(CLASSES * ITEMS)[None, :, None]
    table.look_up(Query(indices, torch.ones_like(indices[..., 0], dtype=torch.bool)))
    images = drawn().images.flatten(0, 1).float() / 255
    rank = [int((images - x).abs().sum((1, 2, 3)).argmin()) for x in torch.cat(seen)]
    assert sorted(rank) == list(range(CLASSES * ITEMS))
    neighbours = np.mean(np.diff(np.array(rank) // ITEMS) == 0)
    assert neighbours < 0.3


def test_an_embedding_that_depends_on_the_batch_is_found_out() -> None:
    @dataclass(eq=False)
    class Centred(Counting):
        def embed_items(self, x: Tensor) -> Tensor:
            z = super().embed_items(x)
            return z - z.mean(0)

    with pytest.raises(ContractError, match="other items of the batch"):
        rows(ready(Centred()), point(), kind=Unaudited)


def test_a_subclass_that_adapts_otherwise_is_found_out() -> None:
    @dataclass(eq=False)
    class Scaled(Counting):
        def adapt(self, support: Support) -> Any:
            state = super().adapt(support)
            return replace(state, means=0.5 * state.means)

    with pytest.raises(ContractError, match="predict otherwise than adapt"):
        rows(ready(Scaled()), point())
