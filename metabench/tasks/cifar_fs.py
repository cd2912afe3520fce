"""CIFAR-FS (Bertinetto et al. 2019): CIFAR-100 split into 64, 16 and 20 classes."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from metabench.errors import MetabenchError
from metabench.tasks.base import TASKS
from metabench.tasks.cache import data_root
from metabench.tasks.hub import load_pool_of
from metabench.tasks.pool import ClassPool, PoolDistribution

VERSION = 1
HUB = "uoft-cs/cifar100"
COLUMNS = ("img", "fine_label")
SIDE = 28
"""Of a grey picture."""

Split = Literal["train", "val", "test"]
# fmt: off
VAL = {
    "beaver", "beetle", "butterfly", "camel", "cattle", "crab", "crocodile", "flatfish", "lamp",
    "maple_tree", "motorcycle", "otter", "sea", "shark", "television", "tractor",
}
TEST = {
    "baby", "bed", "bicycle", "chimpanzee", "fox", "leopard", "man", "pickup_truck", "plain",
    "poppy", "rocket", "rose", "snail", "sweet_pepper", "table", "telephone", "wardrobe", "whale",
    "woman", "worm",
}
# fmt: on
"""The other 64 classes are the training split."""


@TASKS.register("cifar-fs")
class CifarFs(PoolDistribution):
    """Photographs of 100 kinds of things, 3 x 32 x 32, values in [0, 1].

    The training and the test images of a class are pooled: 600 a class on the hub. ``grey`` ones
    are a far domain for learners of characters.
    """

    version: ClassVar[int] = VERSION
    summary: ClassVar[str] = "photographs of 100 kinds of things, split by kind"
    data_set: ClassVar[str] = "cifar-fs"

    split: Split = Field(default="train", description="64, 16 or 20 classes")
    grey: bool = Field(default=False, description="1 x 28 x 28, as glyphs and Omniglot are")

    def base_pool(self) -> ClassPool:
        """The classes of the split."""
        return _pool(self.split, data_root(), self.grey)

    def prepare(self) -> dict[str, str]:
        """One hash a split and colour."""
        return {f"cifar-fs/{_part(self.split, self.grey)}": self.pool().digest}


def _part(split: Split, grey: bool) -> str:
    return f"{split}-grey" if grey else split


@lru_cache(maxsize=3)
def _pool(split: Split, root: Path | None, grey: bool = False) -> ClassPool:
    made = partial(build, split=split, grey=grey)
    part = _part(split, grey)
    return load_pool_of("cifar100", HUB, "train+test", COLUMNS, made, VERSION, part=part)


def build(rows: Any, split: Split, grey: bool = False) -> ClassPool:
    """Classes in order of name, items in the order of the rows."""
    names = rows.features["fine_label"].names
    missing = (VAL | TEST) - set(names)
    if missing:
        raise MetabenchError(f"cifar100: no class is named {sorted(missing)[0]!r}")
    classes = {"train": set(names) - VAL - TEST, "val": VAL, "test": TEST}
    labels = np.array(rows["fine_label"])
    chosen = sorted(classes[split])
    items = [np.flatnonzero(labels == names.index(name)) for name in chosen]
    sizes = {len(i) for i in items}
    if len(sizes) != 1:
        raise MetabenchError(
            f"cifar100: classes have {min(sizes)} to {max(sizes)} images; all need as many"
        )
    pictures = rows.select(np.concatenate(items))["img"]
    images = np.stack([_grey(p) if grey else np.asarray(p.convert("RGB")) for p in pictures])
    channels_first = torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2)
    return ClassPool.of(
        channels_first.unflatten(0, (len(chosen), -1)),
        np.zeros(len(chosen), dtype=np.int64),
        tuple(chosen),
        ("things",),
    )


def _grey(picture: Any) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Luma (ITU-R 601), 28 x 28, by the library's integer arithmetic: the same bytes anywhere."""
    from PIL import Image

    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.uint8)
