"""Font glyphs: counts, splits, look-alikes, determinism, cache."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.rng import Address
from metabench.scoring import score
from metabench.tasks import Shape, glyphs, sample
from metabench.tasks.cache import cached_pool, pool_path
from metabench.tasks.glyph_render import (
    DRAWERS,
    EXTENT,
    FACES,
    SOURCE,
    Renderer,
    charmaps,
    draw_items,
    keep_one_home,
    look_alikes,
    weights,
)
from metabench.tasks.glyph_scripts import SCRIPTS, usable

SPLITS: tuple[glyphs.Split, ...] = ("train", "new-characters", "unseen-scripts")


def test_there_are_two_thousand_characters_of_many_scripts() -> None:
    pool = glyphs.whole_pool()
    assert pool.classes >= 2000
    assert len(pool.group_names) >= 14
    assert pool.items == DRAWERS
    assert len(set(pool.class_names)) == pool.classes


def test_splits_share_no_character_and_unseen_scripts_share_no_script() -> None:
    train, new, unseen = (glyphs.split_pool(s) for s in SPLITS)
    names = [set(p.class_names) for p in (train, new, unseen)]
    assert not names[0] & names[1]
    assert not names[2] & (names[0] | names[1])
    assert not set(unseen.group_names) & set(train.group_names)
    assert set(new.group_names) <= set(train.group_names)
    assert len(unseen.group_names) >= 5
    assert sum(map(len, names)) == glyphs.whole_pool().classes


def test_no_two_characters_look_alike_within_or_across_splits() -> None:
    """Checked anew on the characters that are left, in the face each is judged in first."""
    renderer, maps = Renderer(), charmaps()
    pictures = []
    for name in glyphs.whole_pool().class_names:
        character = chr(int(name[2:], 16))
        face = next(f for f in FACES if ord(character) in maps[f])
        picture = renderer.draw(character, face)
        assert picture is not None
        pictures.append(picture)
    alike = look_alikes(np.stack(pictures), np.stack(pictures), glyphs.LOOK_ALIKE)
    np.fill_diagonal(alike, False)
    assert not alike.any()


def test_letters_that_scripts_borrowed_have_one_home() -> None:
    names = glyphs.whole_pool().class_names
    for family in ("AΑА", "OoΟοОоՕօ", "HΗН", "XxΧхХ"):
        homes = [c for c in family if f"U+{ord(c):04X}" in names]
        assert len(homes) <= 1, f"{family}: {homes}"


def test_marks_blanks_and_composites_are_out() -> None:
    for character in ("\u0301", " ", "\u00a0", "é", "\ufb01", "\U0001d400", "\x00"):
        assert not usable(character), unicodedata.name(character, "control")
    assert usable("ß")
    images = glyphs.whole_pool().images
    ink = images.flatten(2).sum(-1)
    assert int(ink.min()) > 255, "every picture has ink"


def test_look_alikes_keep_the_first() -> None:
    a = np.zeros((SOURCE, SOURCE), dtype=np.uint8)
    a[10:40, 10:14] = 255
    b = np.zeros_like(a)
    b[20:24, 5:50] = 255
    abc = np.stack([a, a, b])
    assert keep_one_home(look_alikes(abc, abc, 0.9)).tolist() == [True, False, True]


def test_a_picture_fills_its_frame() -> None:
    picture = Renderer().draw("O", "DejaVuSans")
    assert picture is not None
    rows = np.flatnonzero(picture.any(1))
    assert rows[-1] - rows[0] + 1 == EXTENT
    thin, plain, thick = (int(w.sum()) for w in weights(picture))
    assert thin < plain < thick


def test_drawers_differ_and_each_is_a_function_of_its_address() -> None:
    picture = Renderer().draw("R", "DejaVuSans")
    assert picture is not None
    sources = weights(picture)[None]
    first, again = (draw_items(sources, np.arange(1), Address.of("r")) for _ in range(2))
    assert np.array_equal(first, again)
    assert len({p.tobytes() for p in first}) == DRAWERS
    assert not np.array_equal(first, draw_items(sources, np.arange(1), Address.of("s")))


def test_characters_are_neither_trivial_nor_hopeless_for_raw_pixels() -> None:
    e = sample(
        glyphs.Glyphs(split="new-characters"),
        Shape(way=5, shot=1, query=5),
        Address.of("nn"),
        range(256),
    )
    accuracy = float(score(NearestNeighbour().predict(e.support, e.query), e).mean())
    assert 0.45 < accuracy < 0.75


def test_a_damaged_cache_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path))
    pool, made = glyphs.split_pool("unseen-scripts"), []

    def build() -> glyphs.ClassPool:
        made.append(1)
        return pool

    manifest = {"version": "1"}
    for damage in (None, b"", b"rubbish", "flip"):
        path = pool_path("x", manifest)
        if isinstance(damage, bytes):
            path.write_bytes(damage)
        elif damage == "flip":
            data = bytearray(path.read_bytes())
            data[-1] ^= 255
            path.write_bytes(bytes(data))
        before = len(made)
        assert cached_pool("x", manifest, build).digest == pool.digest
        assert len(made) == before + 1
        assert cached_pool("x", manifest, build).digest == pool.digest
        assert len(made) == before + 1, "a sound cache is used"
    assert torch.equal(cached_pool("x", manifest, build).images, pool.images)


def test_every_script_has_a_name_of_its_own() -> None:
    names = [s.name for s in SCRIPTS]
    assert len(set(names)) == len(names)
