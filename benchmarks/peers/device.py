"""How much of a device a meta-step uses: arithmetic and memory traffic beside measured peaks."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import torch
from maml_steps import our_step
from pydantic import BaseModel, ConfigDict
from subjects import DrawnPool, Tasks, learner, variants
from timing import Settings, Step, seconds
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from metabench.tasks import Shape, TaskDistribution
from metabench.tasks.sinusoid import Sinusoid

LARGEST = {"cpu": 256, "cuda": 4096}
"""Tasks a batch at which the sweep ends."""


class Use(BaseModel):
    """One meta-step at one number of tasks; per second, with shares of what the device reaches."""

    model_config = ConfigDict(extra="forbid")

    work: str
    tasks: int
    step: float
    tasks_per_second: float
    flops: float
    """Counted in matrix products and convolutions, per second."""
    flops_share: float
    traffic: float
    """Bytes read and written by the operations as eager mode runs them, per second."""
    traffic_share: float


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of every operation's arguments and results, views left out."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, out))
            self.total += sum(t.nbytes for t in leaves if isinstance(t, torch.Tensor))
        return out


def peaks(device: torch.device) -> tuple[float, float]:
    """FLOP/s of a large float32 matrix product and bytes/s of a large copy, on these threads."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.rand(n, n, device=device)
    target, source = torch.empty(2**26, device=device), torch.rand(2**26, device=device)

    def fastest(step: Step) -> float:
        return min(seconds(step, device) for _ in range(5))

    product = fastest(lambda: a @ a)
    copy = fastest(lambda: target.copy_(source))
    return 2 * n**3 / product, 2 * source.nbytes / copy


def sweep(settings: Settings) -> Iterator[Use]:
    """W1 and W2 with 1, 4, ..., tasks a batch, until the memory is full."""
    cases: list[tuple[str, TaskDistribution, Shape, dict[str, Any]]] = [
        ("W1 sinusoid", Sinusoid(), Shape(shot=10, query=10), {}),
        (
            "W2 Conv-4-64",
            DrawnPool(),
            Shape(way=5, shot=1, query=15),
            {"strided": False, "inner_steps": 5},
        ),
    ]
    top = peaks(settings.device)
    for work, distribution, shape, options in cases:
        tasks = Tasks(distribution, shape, settings.device)
        for label, variant in variants("maml").items():
            count = 1
            while count <= LARGEST[settings.device.type]:
                try:
                    yield use(f"{work}, {label}", tasks, {**options, **variant}, count, top)
                except torch.OutOfMemoryError:
                    break
                count *= 4


def use(
    work: str, tasks: Tasks, options: dict[str, Any], count: int, top: tuple[float, float]
) -> Use:
    """One line of the sweep."""
    batches = tasks.batches(count, 1)
    # Only eager operations can be counted.
    eager = {**options, **next(iter(variants("maml").values()))}
    counted = our_step(learner("maml", tasks, meta_batch=count, **eager), tasks, batches)
    # Each by itself: under the FLOP counter some operations are broken up into others.
    make: Any = _Traffic  # torch leaves the constructor untyped
    with make() as traffic:
        counted()
    with FlopCounterMode(display=False) as flops:
        counted()
    step = our_step(learner("maml", tasks, meta_batch=count, **options), tasks, batches)
    step()
    took = statistics.median(seconds(step, tasks.device) for _ in range(5))
    rate, bandwidth = flops.get_total_flops() / took, traffic.total / took
    return Use(
        work=work,
        tasks=count,
        step=took,
        tasks_per_second=count / took,
        flops=rate,
        flops_share=rate / top[0],
        traffic=bandwidth,
        traffic_share=bandwidth / top[1],
    )
