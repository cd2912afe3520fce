"""Omniglot (Lake, Salakhutdinov and Tenenbaum 2015): 1,623 handwritten characters."""

from __future__ import annotations

from functools import lru_cache
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
HUB = "dpdl-benchmark/omniglot"
COLUMNS = ("image", "alphabet", "alphabet_char_id")
SIDE = 28


@TASKS.register("omniglot")
class Omniglot(PoolDistribution):
    """Lake's split: 30 background alphabets (964 characters), 20 evaluation alphabets (659).

    Images are 28 x 28, ink is 1. ``within_group`` draws all classes of an episode from one
    alphabet; ``rotations`` makes a class of every quarter turn.
    """

    version: ClassVar[int] = VERSION
    summary: ClassVar[str] = "handwritten characters of 50 alphabets, 20 drawers each"
    data_set: ClassVar[str] = "omniglot"

    split: Literal["background", "evaluation"] = Field(
        default="background", description="Lake's set of alphabets"
    )

    def base_pool(self) -> ClassPool:
        """All characters of the split."""
        return _pool("train" if self.split == "background" else "test", data_root())

    def prepare(self) -> dict[str, str]:
        """One hash a split: the two come from different files."""
        return {f"omniglot/{self.split}": self.base_pool().digest}


@lru_cache(maxsize=4)
def _pool(split: str, root: Path | None) -> ClassPool:
    return load_pool_of("omniglot", HUB, split, COLUMNS, build, VERSION)


def build(rows: Any) -> ClassPool:
    """Classes in order of (alphabet, character), items in order of drawer, or of the rows."""
    alphabets, characters = list(rows["alphabet"]), list(rows["alphabet_char_id"])
    drawers = list(rows["drawer"]) if "drawer" in rows.column_names else range(len(alphabets))
    images = np.stack([shrink(image) for image in rows["image"]])
    order = sorted(
        range(len(alphabets)), key=lambda i: (str(alphabets[i]), int(characters[i]), drawers[i])
    )
    members: dict[tuple[str, int], list[int]] = {}
    for i in order:
        members.setdefault((str(alphabets[i]), int(characters[i])), []).append(i)
    sizes = {len(m) for m in members.values()}
    if len(sizes) != 1:
        raise MetabenchError(
            f"omniglot: characters have {min(sizes)} to {max(sizes)} images; all need as many"
        )
    groups = tuple(dict.fromkeys(alphabet for alphabet, _ in members))
    return ClassPool.of(
        torch.from_numpy(images[np.array(list(members.values()))][:, :, None]),
        np.array([groups.index(alphabet) for alphabet, _ in members], dtype=np.int64),
        tuple(f"{alphabet}/{character}" for alphabet, character in members),
        groups,
    )


def shrink(image: Any) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A picture with ink 0 on white -> 28 x 28, ink 255, area-averaged."""
    from PIL import Image

    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(255 - np.asarray(small, dtype=np.uint8), dtype=np.uint8)
