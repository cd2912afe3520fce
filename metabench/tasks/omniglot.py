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

Split = Literal["background", "evaluation", "vinyals-train", "vinyals-val", "vinyals-test"]
VINYALS_VAL = {4, 11, 16, 24, 35}
"""Armenian, Bengali, Early Aramaic, Hebrew, Mkhedruli: alphabets by their number on the hub, which
is their place in alphabetical order."""
VINYALS_TEST = (23, 41)
"""Of the evaluation alphabets everything from here on: the last 4 characters of Gurmukhi, then
Kannada to ULOG."""


@TASKS.register("omniglot")
class Omniglot(PoolDistribution):
    """Lake's split: 30 background alphabets (964 characters), 20 evaluation alphabets (659).

    Or the split of Vinyals et al. 2016 as Snell et al. 2017 published it, across both of Lake's:
    1,028 characters to train, 172 to validate and 423 to test.

    Images are 28 x 28, ink is 1. ``within_group`` draws all classes of an episode from one
    alphabet; ``rotations`` makes a class of every quarter turn.
    """

    version: ClassVar[int] = VERSION
    summary: ClassVar[str] = "handwritten characters of 50 alphabets, 20 drawers each"
    data_set: ClassVar[str] = "omniglot"

    split: Split = Field(default="background", description="which characters")

    def base_pool(self) -> ClassPool:
        """All characters of the split."""
        root = data_root()
        if self.split.startswith("vinyals"):
            return _vinyals(self.split, root)
        return _pool("train" if self.split == "background" else "test", root)

    def prepare(self) -> dict[str, str]:
        """One hash a split: the two come from different files."""
        return {f"omniglot/{self.split}": self.base_pool().digest}


@lru_cache(maxsize=4)
def _pool(split: str, root: Path | None) -> ClassPool:
    return load_pool_of("omniglot", HUB, split, COLUMNS, build, VERSION)


@lru_cache(maxsize=3)
def _vinyals(split: str, root: Path | None) -> ClassPool:
    """Characters of both of Lake's sets, background first."""
    background, evaluation = _pool("train", root), _pool("test", root)
    homes = [_home(name, True) for name in background.class_names]
    homes += [_home(name, False) for name in evaluation.class_names]
    both = ClassPool.of(
        torch.cat([background.images, evaluation.images]),
        np.concatenate([background.group, evaluation.group + len(background.group_names)]),
        background.class_names + evaluation.class_names,
        background.group_names + evaluation.group_names,
    )
    return both.select(np.flatnonzero([home == split for home in homes]))


def _home(name: str, background: bool) -> str:
    """The split of Vinyals et al. that a class "alphabet/character" belongs to."""
    try:
        alphabet, character = map(int, name.split("/"))
    except ValueError:
        raise MetabenchError(
            f"omniglot: alphabet {name!r} must be a number for the split of Vinyals et al."
        ) from None
    if background:
        return "vinyals-val" if alphabet in VINYALS_VAL else "vinyals-train"
    return "vinyals-test" if (alphabet, character) >= VINYALS_TEST else "vinyals-train"


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
