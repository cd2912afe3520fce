"""Planted cues: the mark, glyphs that carry it, and the interventions that plant it."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from metabench.conditions import Setting, intervene
from metabench.episodes import Episodes
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.cued import SIDE, CuedGlyphs, marked
from metabench.tasks.glyphs import Glyphs

ADDRESS, SHAPE = Address.of("tests", "cues"), Shape(way=5, shot=2, query=3)
PLAIN, CUED = Glyphs(split="unseen-scripts"), CuedGlyphs(split="unseen-scripts")


def changed(name: str, task: Glyphs, indices: range = range(30)) -> Episodes:
    before = sample(task, SHAPE, ADDRESS, indices)
    return intervene(before, Setting(name, 1.0, "query", task, SHAPE, ADDRESS, indices))


def read(x: torch.Tensor, way: int = 5) -> torch.Tensor:
    """The label that the mark of each image [T, n] names: the template it fits best."""
    templates = marked(torch.zeros(1, way, *x.shape[2:]), torch.arange(way)[None])[0]
    border = x.clone()
    border[..., SIDE:-SIDE, SIDE:-SIDE] = 0
    return torch.einsum("tnchw,kchw->tnk", border, templates).argmax(-1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_marks_are_squares_on_the_border_and_all_differ(shape: tuple[int, ...]) -> None:
    many = 4 * (shape[1] - SIDE)
    marks = marked(torch.zeros(1, many, *shape), torch.arange(many)[None])[0]
    assert torch.equal(marks.sum((1, 2, 3)), torch.full((many,), float(shape[0] * SIDE**2)))
    assert not marks[..., SIDE:-SIDE, SIDE:-SIDE].any()
    assert len({m.numpy().tobytes() for m in marks}) == many
    overlap = torch.einsum("achw,bchw->ab", marks[:25], marks[:25])
    assert float(overlap.fill_diagonal_(0).max()) <= shape[0], "neighbours share a pixel at most"


def test_a_label_has_one_mark_and_the_inside_of_the_picture_stays() -> None:
    plain, cued = sample(PLAIN, SHAPE, ADDRESS, range(30)), sample(CUED, SHAPE, ADDRESS, range(30))
    inside = slice(SIDE, -SIDE)
    for a, b in ((plain.support, cued.support), (plain.query, cued.query)):
        assert torch.equal(a.x[..., inside, inside], b.x[..., inside, inside])
    assert torch.equal(plain.support.y, cued.support.y)
    assert torch.equal(plain.query_y, cued.query_y)
    assert torch.equal(read(cued.support.x), cued.support.y)
    assert torch.equal(read(cued.query.x), cued.query_y)


def test_to_mark_again_replaces_the_mark() -> None:
    x = sample(PLAIN, SHAPE, ADDRESS, range(2)).query.x
    first, second = torch.zeros(2, 15, dtype=torch.int64), torch.full((2, 15), 3)
    assert torch.equal(marked(marked(x, first), second), marked(x, second))


def test_the_share_of_right_marks_is_the_strength_and_chance_beside_it() -> None:
    n = 400
    for strength in (0.0, 0.5):
        task = CUED.shifted("strength", strength)
        e = sample(task, SHAPE, ADDRESS, range(n))
        for x, y in ((e.support.x, e.support.y), (e.query.x, e.query_y)):
            right = (read(x) == y).double()
            share = strength + (1 - strength) / 5
            error = (share * (1 - share) / right.numel()) ** 0.5
            assert float(right.mean()) == pytest.approx(share, abs=4 * error)
        if strength == 0:
            table = torch.zeros(5, 5)
            index = (e.query_y.flatten(), read(e.query.x).flatten())
            table.index_put_(index, torch.ones(index[0].shape), accumulate=True)
            assert stats.chi2_contingency(table.numpy()).pvalue > 1e-4


def test_cued_episodes_are_the_same_in_any_batch_and_padding_is_zero() -> None:
    task, shape = (
        CuedGlyphs(split="unseen-scripts", strength=0.5),
        Shape(way=(2, 4), shot=2, query=1),
    )
    together = sample(task, shape, ADDRESS, range(60, 68))
    for row, i in enumerate(range(60, 68)):
        alone = sample(task, shape, ADDRESS, [i])
        assert torch.equal(together.support.x[row], alone.support.x[0])
        assert torch.equal(together.query.x[row], alone.query.x[0])
    assert not together.support.mask.all()
    assert not together.support.x[~together.support.mask].any()


def test_planting_the_cue_in_plain_glyphs_gives_cued_glyphs() -> None:
    planted, cued = changed("cue-intact", PLAIN), sample(CUED, SHAPE, ADDRESS, range(30))
    assert torch.equal(planted.support.x, cued.support.x)
    assert torch.equal(planted.query.x, cued.query.x)
    weak = changed("cue-intact", CuedGlyphs(split="unseen-scripts", strength=0.3))
    assert torch.equal(weak.query.x, cued.query.x)


@pytest.mark.parametrize("task", [PLAIN, CUED], ids=["plain", "cued"])
def test_swapped_queries_carry_the_mark_of_another_class(task: Glyphs) -> None:
    intact, swapped = changed("cue-intact", task), changed("cue-swapped", task)
    assert torch.equal(intact.support.x, swapped.support.x)
    assert torch.equal(intact.query_y, swapped.query_y)
    mark = read(swapped.query.x)
    assert not (mark == swapped.query_y).any()
    for i in range(30):
        named = {(int(y), int(m)) for y, m in zip(swapped.query_y[i], mark[i], strict=True)}
        assert len(named) == 5
        assert {m for _, m in named} == set(range(5))


@pytest.mark.parametrize("name", ["cue-intact", "cue-swapped"])
def test_a_cue_is_planted_alike_in_any_batch(name: str) -> None:
    together = changed(name, PLAIN)
    alone = [changed(name, PLAIN, range(i, i + 1)).query.x for i in range(30)]
    assert torch.equal(together.query.x, torch.cat(alone))
