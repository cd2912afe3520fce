"""Font glyphs: the image data set that needs no download.

Scripts play the part of alphabets; a font face with a distortion of its own plays the drawer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
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
    Bytes,
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
LOOK_ALIKE = 0.92
"""Cosine above which two characters are one picture, in any of the faces they are judged in.

Chosen by looking at pairs on both sides: above 0.92 lie pairs such as two forms of j, or a digit
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
    return pool.select(np.concatenate(chosen))


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
    homes = _homes()
    images = np.empty((len(homes), DRAWERS, 1, SIZE, SIZE), dtype=np.uint8)
    for i, (home, forms) in enumerate(zip(homes, _own_forms(homes), strict=True)):
        sources = np.stack([weights(form) for form in forms])
        address = Address.of("glyphs", VERSION, ord(home.character))
        images[i, :, 0] = draw_items(sources, np.arange(len(forms)), address)
    names = tuple(dict.fromkeys(h.script.name for h in homes))
    return ClassPool.of(
        torch.from_numpy(images),
        np.array([names.index(h.script.name) for h in homes], dtype=np.int64),
        tuple(f"U+{ord(h.character):04X}" for h in homes),
        names,
    )


@dataclass(frozen=True)
class Home:
    """A character in its script, with its picture in each face that has it, preferred first."""

    script: Script
    character: str
    forms: dict[str, Bytes]

    @property
    def picture(self) -> Bytes:
        """The canonical form."""
        return next(iter(self.forms.values()))


def _homes() -> list[Home]:
    """Every character that keeps its place."""
    renderer, maps = Renderer(), charmaps()
    everything = frozenset().union(*maps.values())
    found = []
    for script in SCRIPTS:
        for character in script.characters(everything):
            drawn = {f: renderer.draw(character, f) for f in FACES if ord(character) in maps[f]}
            forms = {face: form for face, form in drawn.items() if form is not None}
            if forms:
                found.append(Home(script, character, forms))
    canonical = np.stack([home.picture for home in found])
    alike = look_alikes(canonical, canonical, LOOK_ALIKE)
    for face in JUDGED:
        there = [i for i, home in enumerate(found) if face in home.forms]
        pictures = np.stack([found[i].forms[face] for i in there])
        alike[np.ix_(there, there)] |= look_alikes(pictures, pictures, LOOK_ALIKE)
    kept = [found[i] for i in np.flatnonzero(keep_one_home(alike))]
    count = Counter(home.script.name for home in kept)
    return [home for home in kept if count[home.script.name] >= LEAST_CHARACTERS]


def _own_forms(homes: list[Home]) -> list[list[Bytes]]:
    """Each character's forms without those in which a face draws it like another character."""
    canonical = np.stack([home.picture for home in homes])
    forms = np.stack([form for home in homes for form in home.forms.values()])
    owner = np.repeat(np.arange(len(homes)), [len(home.forms) for home in homes])
    alike = look_alikes(forms, canonical, LOOK_ALIKE)
    alike[np.arange(len(forms)), owner] = False
    canonical_form = np.r_[True, owner[1:] != owner[:-1]]
    keep = canonical_form | ~alike.any(axis=1)
    return [list(forms[keep & (owner == i)]) for i in range(len(homes))]
