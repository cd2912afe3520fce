"""W4: drawing 5-way 5-shot episodes with 15 queries from 964 x 20 uint8 images of 28x28.

All sides hold the images in memory as uint8, in one process, and end with images split into support
and query, with labels in 0..4. Images are drawn twice over: as they are stored, and as floats in
[0, 1], where the conversion, which is the same for all, takes most of our time.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from libraries import peer
from subjects import ADDRESS, DrawnPool, drawn_pool
from timing import Row, Settings, Side, Step, compare
from torch import Tensor
from torch.utils.data import DataLoader

from metabench.rng import draw
from metabench.tasks import Shape, sample
from metabench.tasks.base import Planner
from metabench.tasks.pool import stored

WORK = "drawing 5-way 5-shot episodes with 15 queries from 964 x 20 images"
WAY, SHOT, QUERY = 5, 5, 15
BATCH = 64
"""Episodes of metabench and Torchmeta that are asked for at once, as in an evaluation."""
SHAPE = Shape(way=WAY, shot=SHOT, query=QUERY)

Episode = tuple[Tensor, Tensor, Tensor, Tensor]
"""Support x and y, query x and y of one episode."""
Batch = Episode
"""The same of several, stacked."""


class Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The pool as a data set of (image, class)."""

    def __init__(self) -> None:
        pool = drawn_pool()
        self.images = list(pool.images.flatten(0, 1))
        self.labels = torch.arange(pool.classes).repeat_interleave(pool.items).tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]

    def get_labels(self) -> list[int]:
        """What EasyFSL's sampler asks for."""
        return list(self.labels)


Convert = Callable[[Tensor], Tensor]


def scaled(x: Tensor) -> Tensor:
    """uint8 to [0, 1]."""
    return x.float().mul_(1 / 255)


def as_stored(x: Tensor) -> Tensor:
    """uint8 as it is."""
    return x


def learn2learn_episodes(convert: Convert) -> Iterator[list[Episode]]:
    """FusedNWaysKShots, learn2learn's fastest path, split by its own partition_task."""
    data: Any = peer("learn2learn.data")
    random.seed(0)
    dataset = data.MetaDataset(Images())
    transforms = [
        data.transforms.FusedNWaysKShots(dataset, n=WAY, k=SHOT + QUERY),
        data.transforms.LoadData(dataset),
        data.transforms.RemapLabels(dataset),
    ]
    tasks = data.Taskset(dataset, transforms)
    while True:
        x, y = tasks.sample()
        (xs, ys), (xq, yq) = data.partition_task(convert(x), y, shots=SHOT)
        yield [(xs, ys, xq, yq)]


def easyfsl_episodes(convert: Convert) -> Iterator[list[Episode]]:
    """TaskSampler in a DataLoader."""
    random.seed(0)
    dataset = Images()
    sampler = peer("easyfsl.samplers").TaskSampler(dataset, WAY, SHOT, QUERY, 10**9)
    loader: Any = DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    for xs, ys, xq, yq, _ in loader:
        yield [(convert(xs), ys, convert(xq), yq)]


def torchmeta_episodes(convert: Convert) -> Iterator[list[Episode]]:
    """CombinationMetaDataset, ClassSplitter and BatchMetaDataLoader, a batch at a time."""
    data: Any = peer("torchmeta.utils.data")
    transforms: Any = peer("torchmeta.transforms")
    pool = drawn_pool()
    random.seed(0)

    # Made by ``type``: a base class that is only known at run time has no static type.
    one_class = type(
        "OneClass",
        (data.Dataset,),
        {
            "__len__": lambda self: pool.items,
            "__getitem__": lambda self, item: (
                pool.images[self.index, item],
                self.target_transform(self.index),
            ),
        },
    )
    classes = type(
        "Classes",
        (data.ClassDataset,),
        {"num_classes": pool.classes, "__getitem__": lambda self, index: one_class(index)},
    )
    splitter = transforms.ClassSplitter(num_train_per_class=SHOT, num_test_per_class=QUERY)
    dataset = data.CombinationMetaDataset(
        classes(meta_train=True),
        WAY,
        target_transform=transforms.Categorical(WAY),
        dataset_transform=splitter,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for batch in data.BatchMetaDataLoader(dataset, batch_size=BATCH):
            (xs, ys), (xq, yq) = batch["train"], batch["test"]
            yield list(zip(convert(xs), ys, convert(xq), yq, strict=True))


def our_episodes() -> Iterator[Batch]:
    """The product's ``sample``, a batch at a time; no episode twice."""
    distribution = DrawnPool()
    for start in count(0, BATCH):
        e = sample(distribution, SHAPE, ADDRESS, range(start, start + BATCH))
        yield e.support.x, e.support.y, e.query.x, e.query_y


def our_stored_episodes() -> Iterator[Batch]:
    """What ``sample`` converts: the plan of a batch and the images it names."""
    distribution, pool, cpu = DrawnPool(), drawn_pool(), torch.device("cpu")
    planner = Planner(distribution, SHAPE)
    for start in count(0, BATCH):
        plan = draw(planner, ADDRESS, range(start, start + BATCH))
        xs, xq = (stored(pool, plan[name], cpu) for name in ("support", "query"))
        ys, yq = (torch.from_numpy(plan[name]) for name in ("support_y", "query_y"))
        yield xs, ys, xq, yq


PEERS: dict[str, tuple[Callable[[Convert], Iterator[list[Episode]]], int]] = {
    "learn2learn": (learn2learn_episodes, 1),
    "torchmeta": (torchmeta_episodes, BATCH),
    "easyfsl": (easyfsl_episodes, 1),
}
OURS: dict[str, tuple[Convert, Callable[[], Iterator[Batch]], str]] = {
    "uint8 as stored": (as_stored, our_stored_episodes, f"plan and gather, {BATCH} at a time"),
    "float": (scaled, our_episodes, f"sample, {BATCH} at a time"),
}


def rows(settings: Settings) -> Iterator[Row]:
    """Against all three, stored and converted."""
    for images, (convert, mine, ours) in OURS.items():
        check(list(zip(*batch, strict=True)) for batch in mine())
        for library, (source, work) in PEERS.items():
            row = Row(
                workload="W4",
                work="drawing 5-way 5-shot episodes with 15 queries from 964 x 20 images, "
                + images,
                peer=library,
                ours=ours,
                unit="episodes/s",
                agreement="both draw valid episodes",
            )
            side = Side("metabench", partial(stepper_of, mine), BATCH)
            if peer(library) is None:
                yield compare(row, None, side, settings)
                continue
            check(source(convert))
            theirs = Side(library, partial(stepper_of, partial(source, convert)), work)
            yield compare(row, theirs, side, settings)


def stepper_of(source: Callable[[], Iterator[object]]) -> Step:
    """A step that draws the next."""
    episodes = source()
    return lambda: next(episodes)


def check(episodes: Iterator[list[Episode]], wanted: int = 64) -> None:
    """Raise AssertionError unless the episodes are of the shape, distinct and rightly labelled."""
    pool = drawn_pool()
    known = {
        image.numpy().tobytes(): (c, i)
        for c, items in enumerate(pool.images)
        for i, image in enumerate(items)
    }
    seen = 0
    drawn = set()
    while seen < wanted:
        for xs, ys, xq, yq in next(episodes):
            seen += 1
            x = torch.cat([xs, xq])
            if x.is_floating_point():
                x = (x * 255).round().to(torch.uint8)
            places = [known[image.numpy().tobytes()] for image in x]
            assert len(set(places)) == WAY * (SHOT + QUERY)
            classes = [c for c, _ in places]
            drawn.update(classes)
            label = dict(zip(torch.cat([ys, yq]).tolist(), classes, strict=True))
            assert sorted(label) == list(range(WAY))
            assert len(set(label.values())) == WAY
            assert [label[y] for y in torch.cat([ys, yq]).tolist()] == classes
            assert ys.bincount().tolist() == [SHOT] * WAY
            assert yq.bincount().tolist() == [QUERY] * WAY
    assert len(drawn) > 100
