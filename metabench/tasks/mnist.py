"""MNIST digits (LeCun, Cortes and Burges 1998), as a far domain for character learners."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from metabench.tasks.base import TASKS
from metabench.tasks.cache import data_root
from metabench.tasks.hub import load_pool_of
from metabench.tasks.pool import ClassPool, PoolDistribution

VERSION = 1
HUB = "ylecun/mnist"
MOST = 300
"""Images a digit."""


@TASKS.register("mnist")
class Mnist(PoolDistribution):
    """Ten digits of the test set, 28 x 28, ink is 1, as many images of each."""

    version: ClassVar[int] = VERSION
    summary: ClassVar[str] = "handwritten digits, test set"
    data_set: ClassVar[str] = "mnist"

    split: Literal["test"] = "test"

    def base_pool(self) -> ClassPool:
        """The ten digits."""
        return _pool(data_root())


@lru_cache(maxsize=2)
def _pool(root: Path | None) -> ClassPool:
    return load_pool_of("mnist", HUB, "test", ("image", "label"), build, VERSION)


def build(rows: Any) -> ClassPool:
    """The first images of each digit in the order of the rows, as many as the rarest has."""
    labels = np.array(list(rows["label"]), dtype=np.int64)
    digits = np.unique(labels)
    most = min(MOST, *(int((labels == d).sum()) for d in digits))
    index = np.stack([np.flatnonzero(labels == d)[:most] for d in digits])
    images = np.stack([np.asarray(rows[int(i)]["image"].convert("L")) for i in index.flatten()])
    return ClassPool.of(
        torch.from_numpy(images.reshape(*index.shape, 1, *images.shape[1:])),
        np.zeros(len(digits), dtype=np.int64),
        tuple(str(d) for d in digits),
        ("digits",),
    )
