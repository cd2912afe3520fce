"""What both sides are given: networks with the same weights and the same episodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from metabench.episodes import Episodes, Query, Support
from metabench.learners.contract import LEARNERS, TaskInfo, TaskStream
from metabench.learners.trainable import Trainable
from metabench.records import Budget
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.base import Count
from metabench.tasks.pool import ClassPool, PoolDistribution

CLASSES, ITEMS, SIDE = 964, 20, 28
"""As many images as Omniglot's background set has, and as large."""
COMPILED = "fused_training"
"""The hyper-parameter that says whether a meta-step is compiled."""
ADDRESS = Address.of("benchmarks", "peers")


class DrawnPool(PoolDistribution):
    """Images that can be told apart by class: a pattern of the class plus noise of the item."""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "smooth patterns with noise, as large as Omniglot's background set"
    data_set: ClassVar[str] = "drawn"

    def base_pool(self) -> ClassPool:
        """Drawn once."""
        return drawn_pool()


@lru_cache(maxsize=1)
def drawn_pool() -> ClassPool:
    """uint8 [964, 20, 1, 28, 28]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(CLASSES, 1, 7, 7, generator=generator)
    pattern = nn.functional.interpolate(coarse, SIDE, mode="bilinear")[:, None]
    noise = torch.rand(CLASSES, ITEMS, 1, SIDE, SIDE, generator=generator)
    images = ((0.6 * pattern + 0.4 * noise) * 255).to(torch.uint8)
    names = tuple(str(c) for c in range(CLASSES))
    return ClassPool.of(images, np.zeros(CLASSES, dtype=np.int64), names, ("all",))


def task_info(distribution: TaskDistribution, shape: Shape) -> TaskInfo:
    """What a learner is told about these tasks."""
    way = shape.way if isinstance(shape.way, int) else shape.way[1]
    return TaskInfo(
        distribution.kind, distribution.input_shape, distribution.output_dim, shape, way
    )


@dataclass
class Replay(TaskStream):
    """A stream that hands out the same episodes again and again, so that no sampling is timed."""

    stored: list[Episodes] = field(default_factory=list)
    given: int = 0

    def next(
        self,
        tasks: int,
        *,
        way: Count | None = None,
        shot: Count | None = None,
        query: int | None = None,
    ) -> Episodes:
        """The next stored batch."""
        self.given += 1
        return self.stored[(self.given - 1) % len(self.stored)]


@dataclass(frozen=True)
class Tasks:
    """Episodes of one shape, for both sides."""

    distribution: TaskDistribution
    shape: Shape
    device: torch.device

    def batches(self, tasks: int, count: int = 4) -> list[Episodes]:
        """``count`` different batches."""
        return [
            sample(
                self.distribution,
                self.shape,
                ADDRESS,
                range(i * tasks, (i + 1) * tasks),
                self.device,
            )
            for i in range(count)
        ]

    @property
    def info(self) -> TaskInfo:
        """As a learner is told."""
        return task_info(self.distribution, self.shape)

    def stream(self) -> TaskStream:
        """The product's own stream, of any length."""
        budget = Budget(tasks=10**9, steps=10**9, seconds=10**9)
        return TaskStream(self.info, self.distribution, ADDRESS, budget, self.device)

    def replay(self, batches: list[Episodes]) -> Replay:
        """A stream of these batches."""
        stream = self.stream()
        given = {f.name: getattr(stream, f.name) for f in fields(stream) if f.init}
        return Replay(**given, stored=batches)


def learner(name: str, tasks: Tasks, **options: Any) -> Trainable[Any]:
    """A learner of metabench, set up for the tasks."""
    made: Any = LEARNERS.get(name)(**options)
    made.setup(tasks.info, 0, tasks.device)
    assert isinstance(made, Trainable)
    return made


def variants(name: str) -> dict[str, dict[str, Any]]:
    """A learner's meta-step as it is and, if it can be, compiled: label -> options."""
    kind: Any = LEARNERS.get(name)
    if COMPILED not in {f.name for f in fields(kind)}:
        return {name: {}}
    return {name: {COMPILED: False}, f"{name}, compiled": {COMPILED: True}}


def to_double(subject: Trainable[Any]) -> None:
    """Make a learner compute in float64; the optimiser starts afresh."""
    (group,) = subject.optimiser.param_groups
    device = next(iter(subject.parameters.values())).device
    subject.hold(
        {k: p.detach().double() for k, p in subject.parameters.items()},
        device,
        float(group["lr"]),
        {k: b.double() for k, b in subject.buffers.items()},
    )


def double(episodes: Episodes) -> Episodes:
    """The episodes in float64."""
    s, q, y = episodes.support, episodes.query, episodes.query_y

    def wide(t: Tensor) -> Tensor:
        return t.double() if t.is_floating_point() else t

    support = Support(s.x.double(), wide(s.y), s.mask, s.way)
    return replace(episodes, support=support, query=Query(q.x.double(), q.mask), query_y=wide(y))


@contextmanager
def float64() -> Iterator[None]:
    """New tensors are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def mlp(hidden: int = 40) -> nn.Module:
    """The regression network of Finn et al. 2017 as one writes it in torch.nn."""
    network = nn.Sequential()
    network.add_module("layer0", nn.Sequential(nn.Linear(1, hidden), nn.ReLU()))
    network.add_module("layer1", nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU()))
    network.add_module("head", nn.Linear(hidden, 1))
    return network


def conv4(filters: int = 64, way: int = 0, strided: bool = False) -> nn.Module:
    """Conv-4, layer for layer as learn2learn ships it; a head for ``way`` > 0 classes."""
    network = nn.Sequential()
    for i in range(4):
        layers: list[nn.Module] = [
            nn.Conv2d(filters if i else 1, filters, 3, stride=2 if strided else 1, padding=1),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        network.add_module(
            f"block{i}", nn.Sequential(*layers, *([] if strided else [nn.MaxPool2d(2)]))
        )
    network.add_module("flatten", nn.Flatten())
    if way:
        network.add_module("head", nn.Linear(filters * (4 if strided else 1), way))
    return network


_OURS = {
    r"(layer\d)\.0\.(weight|bias)": r"\1.\2",
    r"(block\d)\.0\.weight": r"\1.kernel",
    r"(block\d)\.1\.weight": r"\1.scale",
    r"(block\d)\.1\.bias": r"\1.shift",
    r"(head\.(?:weight|bias))": r"\1",
}


def our_name(name: str) -> str | None:
    """A parameter's name in metabench; None for a bias that normalisation makes ineffective."""
    for pattern, ours in _OURS.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return None


def with_weights_of(network: nn.Module, subject: Trainable[Any]) -> nn.Module:
    """The network with the learner's weights and running statistics, on its device, in its type."""
    any_of_them = next(iter(subject.parameters.values()))
    network = network.to(any_of_them.device, any_of_them.dtype)
    used = set()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            ours = our_name(name)
            if ours is None:
                parameter.zero_()
            else:
                parameter.copy_(subject.parameters[ours])
                used.add(ours)
        for name, buffer in network.named_buffers():
            if match := re.fullmatch(r"block(\d)\.1\.running_(mean|var)", name):
                key = ("mean" if match[2] == "mean" else "variance") + match[1]
                if key in subject.buffers:
                    buffer.copy_(subject.buffers[key])
    assert used == set(subject.parameters), set(subject.parameters) - used
    return network


def paired(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The peer's values beside ours, by name."""
    return [(value, ours[mine]) for name, value in theirs.items() if (mine := our_name(name))]


def gradients_of(network: nn.Module) -> dict[str, Tensor]:
    """The gradients that a step left behind."""
    return {k: p.grad.detach().clone() for k, p in network.named_parameters() if p.grad is not None}
