"""Class pools: a set of classes with the same number of images each, and episodes drawn from it."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import Address, BlockDraws, Plan
from metabench.tasks.base import Count, Shape, TaskDistribution, bounds
from metabench.tasks.catalogue import Catalogue

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


# Compared and hashed by identity, so that a pool can be the key of a cache.
@dataclass(frozen=True, eq=False)
class ClassPool:
    """C classes of I images. Classes of one group stand together.

    images uint8 [C, I, *X], 255 is ink; group int64 [C], ascending ids into ``group_names``;
    class_names has C entries; digest is the SHA-256 of all of it.
    """

    images: Tensor
    group: Ints
    class_names: tuple[str, ...]
    group_names: tuple[str, ...]
    digest: str

    @classmethod
    def of(
        cls,
        images: Tensor,
        group: Ints,
        class_names: tuple[str, ...],
        group_names: tuple[str, ...],
    ) -> ClassPool:
        """A pool with its digest computed; raises ValueError where the parts do not fit."""
        classes = images.shape[0]
        if images.dtype != torch.uint8 or not (classes == len(group) == len(class_names) > 0):
            raise ValueError("a pool is uint8 [C, I, *X] with C groups and C names")
        if np.any(np.diff(group) < 0) or not 0 <= group[0] <= group[-1] < len(group_names):
            raise ValueError("group ids must ascend and have names")
        images, group = images.contiguous(), np.ascontiguousarray(group, dtype="<i8")
        h = hashlib.sha256(repr((tuple(images.shape), class_names, group_names)).encode())
        h.update(group.data)
        h.update(images.numpy().data)
        return cls(images, group, class_names, group_names, h.hexdigest())

    def select(self, index: Ints) -> ClassPool:
        """The pool of these classes, ascending, and of the groups that are left."""
        groups, group = np.unique(self.group[index], return_inverse=True)
        return ClassPool.of(
            self.images[torch.from_numpy(index)],
            group.astype(np.int64),
            tuple(self.class_names[i] for i in index),
            tuple(self.group_names[g] for g in groups),
        )

    @property
    def classes(self) -> int:
        """C."""
        return self.images.shape[0]

    @property
    def items(self) -> int:
        """I."""
        return self.images.shape[1]

    @cached_property
    def group_start(self) -> Ints:
        """Index of the first class of each group [G]."""
        return np.searchsorted(self.group, np.arange(len(self.group_names)))

    @cached_property
    def group_size(self) -> Ints:
        """Number of classes of each group [G]."""
        return np.bincount(self.group, minlength=len(self.group_names))


@lru_cache(maxsize=4)
def rotated(pool: ClassPool) -> ClassPool:
    """The pool with classes 4c..4c+3 being class c turned by 0, 90, 180 and 270 degrees.

    A turn belongs to the class, never to a task or an image, and the four turns of a class are in
    the same group and the same split.
    """
    turns = [torch.rot90(pool.images, r, dims=(-2, -1)) for r in range(4)]
    return replace(
        pool,
        images=torch.stack(turns, dim=1).flatten(0, 1).contiguous(),
        group=np.repeat(pool.group, 4),
        class_names=tuple(f"{name}@{90 * r}" for name in pool.class_names for r in range(4)),
        digest=hashlib.sha256(f"rotations of {pool.digest}".encode()).hexdigest(),
    )


@lru_cache(maxsize=8)
def _flat_on(pool: ClassPool, device: torch.device) -> Tensor:
    """All images of the pool as one tensor [C * I, X] there."""
    return pool.images.flatten(0, 1).flatten(1).to(device)


class PoolDistribution(TaskDistribution):
    """Classification episodes from a class pool: draw classes, then items, then orders."""

    kind: ClassVar[Kind] = "classification"
    data_set: ClassVar[str]
    """The name under which ``prepare`` reports the content hash."""

    within_group: bool = Field(default=False, description="all classes of a task share a group")
    rotations: bool = Field(default=False, description="quarter turns of a class are new classes")
    fixed_labels: bool = Field(
        default=False, description="class c has the label c mod way in every task"
    )

    @abstractmethod
    def base_pool(self) -> ClassPool:
        """The pool before rotations, remembered by the process."""

    def pool(self) -> ClassPool:
        """The pool that class indices refer to; loaded at the first call."""
        return rotated(self.base_pool()) if self.rotations else self.base_pool()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """That of the pool's images."""
        return tuple(self.base_pool().images.shape[2:])

    @property
    def largest_way(self) -> int:
        """Classes of the pool, or of its largest group."""
        pool = self.pool()
        return int(pool.group_size.max()) if self.within_group else pool.classes

    def prepare(self) -> dict[str, str]:
        """Load the pool; returns its content hash under the data set's name."""
        return {self.data_set: self.pool().digest}

    def check_shape(self, shape: Shape) -> None:
        """Raise MetabenchError unless the pool holds enough classes and items."""
        pool, way, shot = self.pool(), bounds(shape.way), bounds(shape.shot)
        most = self.largest_way
        if way[0] < 2:
            raise MetabenchError(f"way must be at least 2 in classification, found {way[0]}")
        if way[1] > most:
            where = "its largest group" if self.within_group else "it"
            raise MetabenchError(f"way is {way[1]}, but {self.data_set} has {most} in {where}")
        if shot[1] + shape.query > pool.items:
            raise MetabenchError(
                f"shot + query is {shot[1] + shape.query}, but a class of {self.data_set} has "
                f"{pool.items} items"
            )
        if self.fixed_labels and way[0] != way[1]:
            raise MetabenchError("fixed_labels: every episode must have the same way")
        if self.fixed_labels and self.rotations and way[1] % 2 == 0:
            # The four turns of a class follow each other.
            raise MetabenchError("fixed_labels: with rotations, an even way would name the turn")

    def catalogue(self, address: Address) -> Catalogue:
        """Every image of the pool."""
        pool = self.pool()
        return Catalogue(pool.classes, pool.items, partial(pixels, pool), pool.digest)

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Image indices, labels and masks of a block.

        classes [B, way]; way [B]; support, support_y, support_mask [B, way * shot]; query,
        query_y, query_mask [B, way * query], where support and query index the pool's images
        [C * I]. A larger way, shot or query leaves the other classes, items and their relative
        order as they were: draws come in an order in which a larger number only adds to the end.
        """
        self.check_shape(shape)
        pool, most_way, most_shot = self.pool(), bounds(shape.way)[1], bounds(shape.shot)[1]
        way = _counts(draws, "way", shape.way)
        shot = _counts(draws, "shot", shape.shot)
        classes = self._classes(draws, most_way)

        # Ways lead the axes, so that the numbers of the first classes do not move with the way.
        keys = (most_way, draws.size, pool.items)
        items = _both_ends(draws("items").random(keys), most_shot, shape.query)
        order = draws("order").random(keys)
        base = classes.T[:, :, None] * pool.items
        present = (np.arange(most_way)[:, None] < way)[:, :, None]
        # Support comes from one end of the shuffled items and query from the other, so that
        # neither depends on how many the other takes.
        plan: dict[str, NDArray[np.generic]] = {"classes": classes, "way": way}
        for name, picked, here in (
            ("support", items[..., :most_shot], present & (np.arange(most_shot) < shot[:, None])),
            ("query", items[..., : -shape.query - 1 : -1], present),
        ):
            part = _arrange(base + picked, np.take_along_axis(order, picked, -1), here)
            plan |= {name: part[0], f"{name}_y": part[1], f"{name}_mask": part[2]}
        return plan

    def _classes(self, draws: BlockDraws, way: int) -> Ints:
        """Class indices [B, way], an ordered sample without replacement: label j is column j.

        With fixed labels (the non-mutually-exclusive tasks of Yin et al. 2020), one class among
        those of each label.
        """
        pool = self.pool()
        if self.within_group:
            fit = np.flatnonzero(pool.group_size >= way)
            group = fit[(draws("group").random(draws.size) * len(fit)).astype(np.int64)]
            start, size = pool.group_start[group], pool.group_size[group]
        else:
            start = np.zeros(draws.size, dtype=np.int64)
            size = np.full(draws.size, pool.classes)
        uniform = draws("classes").random((way, draws.size))
        if self.fixed_labels:
            # Label j has the classes first, first + way, first + 2 way, ... below start + size.
            first = start[:, None] + (np.arange(way) - start[:, None]) % way
            count = -((first - (start + size)[:, None]) // way)
            return first + way * (uniform.T * count).astype(np.int64)
        return start[:, None] + _first_of_shuffle(uniform, size)

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The planned images, scaled to [0, 1]; padded items are zero with label 0."""
        pool = self.pool()
        support_x, support_y, support_mask = self._part(plan, "support", pool, device)
        query_x, query_y, query_mask = self._part(plan, "query", pool, device)
        way = _tensor(plan["way"], device)
        support = Support(support_x, support_y, support_mask, way)
        return Episodes(support, Query(query_x, query_mask), query_y)

    @property
    def from_catalogue(self) -> bool:
        """Unless a subclass makes its episodes otherwise."""
        return type(self).realise is PoolDistribution.realise

    def indexed(self, plan: Plan) -> Episodes:
        """The image indices of the plan."""
        x, y, mask = (
            [torch.from_numpy(plan[part + name]) for part in ("support", "query")]
            for name in ("", "_y", "_mask")
        )
        support = Support(x[0][..., None], y[0], mask[0], torch.from_numpy(plan["way"]))
        return Episodes(support, Query(x[1][..., None], mask[1]), y[1])

    def _part(
        self, plan: Plan, name: str, pool: ClassPool, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = _tensor(plan[f"{name}_mask"], device)
        x = pixels(pool, plan[name], device)
        if not plan[f"{name}_mask"].all():
            x *= mask.view(*mask.shape, *[1] * (x.ndim - mask.ndim))
        return x, _tensor(plan[f"{name}_y"], device), mask


def pixels(pool: ClassPool, index: NDArray[np.generic], device: torch.device) -> Tensor:
    """Images [*index.shape, *X] in [0, 1] of these indices into the pool's images [C * I]."""
    # Not a division: CUDA multiplies by the reciprocal and would round differently.
    return stored(pool, index, device).float().mul_(1 / 255)


def stored(pool: ClassPool, index: NDArray[np.generic], device: torch.device) -> Tensor:
    """The same images as they are stored, uint8 [*index.shape, *X]: a quarter of the memory."""
    if device.type == "cpu":
        # Copies whole rows, where torch's index_select takes a quarter longer.
        rows = (
            pool.images.flatten(0, 1).flatten(1).numpy().take(np.asarray(index, np.int64), axis=0)
        )
        return torch.from_numpy(rows).unflatten(-1, pool.images.shape[2:])
    where = _tensor(index, device)
    images = _flat_on(pool, device).index_select(0, where.flatten())
    return images.view(*where.shape, *pool.images.shape[2:])


def _tensor(array: NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)


def _counts(draws: BlockDraws, name: str, count: Count) -> Ints:
    """The way or shot of each episode [B]."""
    low, high = bounds(count)
    if low == high:
        return np.full(draws.size, low)
    return low + (draws(name).random(draws.size) * (high - low + 1)).astype(np.int64)


def _first_of_shuffle(uniform: Floats, size: Ints) -> Ints:
    """The first W entries of a Fisher-Yates shuffle of range(size[b]), for each b: [B, W].

    uniform [W, B]. A larger W continues the same shuffle.
    """
    steps, rows = uniform.shape[0], np.arange(len(size))
    deck = np.repeat(np.arange(size.max())[None], len(size), axis=0)
    for j in range(steps):
        other = j + (uniform[j] * (size - j)).astype(np.int64)
        taken = deck[rows, other]
        deck[rows, other] = deck[:, j]
        deck[:, j] = taken
    return deck[:, :steps]


def _both_ends(keys: Floats, low: int, high: int) -> Ints:
    """Indices along the last axis that sort the keys; exact only at the ``low`` and ``high`` ends.

    The last axis of the result has ``low + high`` entries: the smallest keys, then the largest.
    """
    count = keys.shape[-1]
    if count <= 4 * (low + high):
        full = keys.argsort(-1)
        return np.concatenate([full[..., :low], full[..., count - high :]], axis=-1)
    part = keys.argpartition((low - 1, count - high), axis=-1)
    ends = (part[..., :low], part[..., count - high :])
    ordered = [np.take_along_axis(e, np.take_along_axis(keys, e, -1).argsort(-1), -1) for e in ends]
    return np.concatenate(ordered, axis=-1)


def _arrange(
    index: Ints, keys: Floats, present: NDArray[np.bool_]
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Index, label and mask [B, W * n] of items [W, B, n], in the order of their keys.

    Absent items come last, with index and label 0.
    """
    way, block, per_class = index.shape
    mask = np.broadcast_to(present, index.shape)
    whole = bool(mask.all())
    if not whole:
        keys = np.where(mask, keys, np.inf)

    def rows(a: NDArray[np.generic]) -> NDArray[np.generic]:
        return a.transpose(1, 0, 2).reshape(block, way * per_class)

    order = rows(keys).argsort(-1)
    picked = np.take_along_axis(rows(index), order, -1).astype(np.int64, copy=False)
    label = order // per_class
    if whole:
        return picked, label, np.ones(order.shape, dtype=np.bool_)
    kept = np.take_along_axis(rows(mask), order, -1).astype(np.bool_)
    return picked * kept, label * kept, kept
