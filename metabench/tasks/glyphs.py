"""Font glyphs: the image data set that needs no download.

Scripts play the part of alphabets; a font face with a distortion of its own plays the drawer.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from metabench.rng import Address
from metabench.tasks.base import TASKS
from metabench.tasks.cache import Manifest, cached_pool, file_digest
from metabench.tasks.glyph_render import (
    DRAWERS,
    FACES,
    JUDGED,
    SIZE,
    Renderer,
    charmaps,
    draw_items,
    face_path,
    keep_one_home,
    look_alikes,
    weights,
)
from metabench.tasks.glyph_scripts import SCRIPTS, Script
from metabench.tasks.pool import ClassPool, PoolDistribution

VERSION = 1
LOOK_ALIKE = 0.90
"""Cosine above which two characters are one picture, in any of the faces they are judged in.

Chosen by looking at pairs on both sides: above 0.90 lie pairs such as two forms of j, or a digit
and a letter that borrowed its shape; below it pairs differ by a stroke that the distortions leave.
"""
LEAST_CHARACTERS = 12
"""A script with fewer characters left plays no part."""
NEW_SHARE = 0.25
"""Share of a seen script's characters that meta-training never meets."""

Split = Literal["train", "new-characters", "unseen-scripts"]


@TASKS.register("glyphs")
class Glyphs(PoolDistribution):
    """Characters of the fonts that matplotlib ships, 28 x 28, 20 drawers each.

    "train" and "new-characters" share scripts but no character; "unseen-scripts" are whole
    scripts that neither has. Characters that look alike have one home among all three.
    """

    version: ClassVar[int] = VERSION
    summary: ClassVar[str] = "rendered characters of many scripts, embedded, no download"
    data_set: ClassVar[str] = "glyphs"

    split: Split = Field(default="train", description="which characters")

    def base_pool(self) -> ClassPool:
        """The split's part of the pool."""
        return split_pool(self.split)

    def prepare(self) -> dict[str, str]:
        """The whole pool's hash: its splits are a function of it."""
        return {self.data_set: whole_pool().digest}


@lru_cache(maxsize=1)
def whole_pool() -> ClassPool:
    """Every character of every script, from the cache if it was built before."""
    return cached_pool("glyphs", manifest(), build)


@lru_cache(maxsize=3)
def split_pool(split: Split) -> ClassPool:
    """The characters of one split."""
    pool = whole_pool()
    unseen = {s.name for s in SCRIPTS if s.unseen}
    chosen = []
    for g, name in enumerate(pool.group_names):
        members = np.flatnonzero(pool.group == g)
        if name in unseen:
            chosen += [members] if split == "unseen-scripts" else []
            continue
        order = Address.of("glyphs", VERSION, "split", name).generator().permutation(members)
        new = order[: max(1, round(NEW_SHARE * len(order)))]
        if split == "new-characters":
            chosen.append(np.sort(new))
        elif split == "train":
            chosen.append(np.setdiff1d(members, new))
    index = np.concatenate(chosen)
    groups, group = np.unique(pool.group[index], return_inverse=True)
    return ClassPool.of(
        pool.images[torch.from_numpy(index)],
        group.astype(np.int64),
        tuple(pool.class_names[i] for i in index),
        tuple(pool.group_names[g] for g in groups),
    )


def manifest() -> Manifest:
    """What decides the pixels: this code, the fonts, and the library that draws them."""
    import PIL
    from PIL import features

    here = Path(__file__).parent
    code = [file_digest(here / f"{n}.py") for n in ("glyphs", "glyph_render", "glyph_scripts")]
    source = hashlib.sha256()
    for face in FACES:
        source.update(file_digest(face_path(face)).encode())
    return {
        "version": str(VERSION),
        "code": hashlib.sha256("".join(code).encode()).hexdigest(),
        "fonts": source.hexdigest(),
        "pillow": PIL.__version__,
        "freetype": str(features.version("freetype2")),
    }


def build() -> ClassPool:
    """Render, remove look-alikes, distort: some 2,000 characters in about ten seconds."""
    scripts, characters = _homes()
    renderer, maps = Renderer(), charmaps()
    images = np.empty((len(characters), DRAWERS, 1, SIZE, SIZE), dtype=np.uint8)
    for i, character in enumerate(characters):
        drawn = [
            weights(picture)
            for face in FACES
            if ord(character) in maps[face]
            and (picture := renderer.draw(character, face)) is not None
        ]
        address = Address.of("glyphs", VERSION, ord(character))
        images[i, :, 0] = draw_items(np.stack(drawn), np.arange(len(drawn)), address)
    names = tuple(dict.fromkeys(s.name for s in scripts))
    return ClassPool.of(
        torch.from_numpy(images),
        np.array([names.index(s.name) for s in scripts], dtype=np.int64),
        tuple(f"U+{ord(c):04X}" for c in characters),
        names,
    )


def _homes() -> tuple[list[Script], list[str]]:
    """Every character that keeps its place, with its script."""
    maps = charmaps()
    everything = frozenset().union(*maps.values())
    every = [(script, c) for script in SCRIPTS for c in script.characters(everything)]
    renderer = Renderer()
    first = [next(f for f in FACES if ord(c) in maps[f]) for _, c in every]
    drawn = [renderer.draw(c, face) for (_, c), face in zip(every, first, strict=True)]
    every = [e for e, picture in zip(every, drawn, strict=True) if picture is not None]
    pictures = [picture for picture in drawn if picture is not None]
    alike = look_alikes(np.stack(pictures), LOOK_ALIKE)
    for face in JUDGED:
        own = [renderer.draw(c, face) if ord(c) in maps[face] else None for _, c in every]
        there = [i for i, picture in enumerate(own) if picture is not None]
        found = look_alikes(np.stack([p for p in own if p is not None]), LOOK_ALIKE)
        alike[np.ix_(there, there)] |= found
    kept = np.flatnonzero(keep_one_home(alike))
    count = {s.name: sum(every[i][0] is s for i in kept) for s in SCRIPTS}
    kept = np.array([i for i in kept if count[every[i][0].name] >= LEAST_CHARACTERS])
    return [every[i][0] for i in kept], [every[i][1] for i in kept]
