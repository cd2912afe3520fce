"""Characters of many scripts, drawn by 20 drawers each: the image data set that needs no download.

The glyphs of the fonts that come with matplotlib stand in for a collection of handwriting:
scripts are the alphabets, and a font face under a random distortion is a drawer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from metabench.rng import Address, digest
from metabench.tasks.base import TASKS
from metabench.tasks.cache import cached_pool, file_digest
from metabench.tasks.glyph_drawer import draw_character
from metabench.tasks.glyph_render import Pictures, distinct, faces, forms, own_forms
from metabench.tasks.glyph_scripts import SCRIPTS
from metabench.tasks.pool import ClassPool, PoolDistribution

Split = Literal["train", "new-characters", "unseen-scripts"]
VERSION = 1
"""Changes with anything that changes a pixel or a class."""
LEAST_CHARACTERS = 20
"""Scripts with fewer characters left are dropped: they could not hold a 20-way task."""


@TASKS.register("glyphs")
class Glyphs(PoolDistribution):
    """Which character is it? 28 x 28 grey images of some 2,000 characters, 20 of each.

    ``train`` and ``new-characters`` share scripts but no character; ``unseen-scripts`` are
    scripts of which meta-training saw nothing. No two characters of all three look alike.
    """

    version: ClassVar[int] = VERSION
    summary: ClassVar[str] = "characters of many scripts, rendered from fonts and distorted"
    data_set: ClassVar[str] = "glyphs"

    split: Split = Field(default="train", description="which characters")

    def base_pool(self) -> ClassPool:
        """The split's characters; groups are scripts."""
        return split_pool(self.split)


@lru_cache(maxsize=1)
def whole_pool() -> ClassPool:
    """The characters of all splits; made at first use, then read from the cache folder."""
    return cached_pool("glyphs", manifest(), build)


@lru_cache(maxsize=3)
def split_pool(split: Split) -> ClassPool:
    """The characters of one split."""
    pool = whole_pool()
    kept = members(pool)[split]
    groups, group = np.unique(pool.group[kept], return_inverse=True)
    return ClassPool.of(
        pool.images[kept],
        group.astype(np.int64),
        tuple(pool.class_names[c] for c in kept),
        tuple(pool.group_names[g] for g in groups),
    )


def members(pool: ClassPool) -> dict[Split, list[int]]:
    """The classes of each split: whole scripts first, then a quarter of each seen script."""
    part: dict[Split, list[int]] = {"train": [], "new-characters": [], "unseen-scripts": []}
    unseen = {script.name for script in SCRIPTS if script.unseen}
    for name, start, size in zip(pool.group_names, pool.group_start, pool.group_size, strict=True):
        classes = range(start, start + size)
        if name in unseen:
            part["unseen-scripts"] += classes
            continue
        by_hash = sorted(classes, key=lambda c: digest("glyph split", pool.class_names[c]))
        part["new-characters"] += by_hash[: round(size / 4)]
        part["train"] += by_hash[round(size / 4) :]
    return {split: sorted(classes) for split, classes in part.items()}


def manifest() -> dict[str, str]:
    """Everything a built pool depends on."""
    import PIL
    from PIL import features

    about = {
        "version": str(VERSION),
        "pillow": PIL.__version__,
        "freetype": str(features.version("freetype2")),
    }
    return about | {f.path.name: file_digest(f.path) for f in faces()}


def build() -> ClassPool:
    """Render, drop look-alikes and small scripts, and let the drawers draw."""
    names, canon, drawn = _candidates()
    kept = distinct(np.stack(canon))
    sizes = {s.name: sum(names[i][0] == s.name for i in kept) for s in SCRIPTS}
    kept = [i for i in kept if sizes[names[i][0]] >= LEAST_CHARACTERS]
    scripts = [s.name for s in SCRIPTS if sizes[s.name] >= LEAST_CHARACTERS]
    canonical = np.stack([canon[i] for i in kept])
    images = [
        draw_character(pictures, Address.of("glyphs", VERSION, names[i][1]))
        for i, pictures in zip(kept, own_forms(canonical, [drawn[i] for i in kept]), strict=True)
    ]
    return ClassPool.of(
        torch.from_numpy(np.stack(images))[:, :, None],
        np.array([scripts.index(names[i][0]) for i in kept], dtype=np.int64),
        tuple(names[i][1] for i in kept),
        tuple(scripts),
    )


def _candidates() -> tuple[list[tuple[str, str]], list[Pictures], list[list[Pictures]]]:
    """(script, character), its canonical form, and all its forms, for all usable characters."""
    every = faces()
    held = frozenset().union(*(f.charmap for f in every))
    names, drawn = [], []
    for script in SCRIPTS:
        for character in script.characters(held):
            if pictures := forms(character, every):
                names.append((script.name, character))
                drawn.append(pictures)
    return names, [pictures[0] for pictures in drawn], drawn
