"""Interventions on images."""

from __future__ import annotations

import pytest
import torch

from metabench.conditions import INTERVENTIONS, Setting, images, intervene
from metabench.episodes import Episodes
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

ADDRESS = Address.of("tests", "images")
TASK = Clusters(shape=(1, 28, 28))
SHAPE = Shape(way=3, shot=1, query=2)
NAMES = [n for n in INTERVENTIONS if type(INTERVENTIONS.get(n)).__module__ == images.__name__]


def pictures(indices: range) -> Episodes:
    e = sample(TASK, SHAPE, ADDRESS, indices)
    query = type(e.query)(e.query.x.sigmoid(), e.query.mask)
    return Episodes(e.support, query, e.query_y)


def setting(name: str, value: float, indices: range) -> Setting:
    return Setting(name, value, "query", TASK, SHAPE, ADDRESS, indices)


def changed(name: str, value: float, indices: range = range(6)) -> torch.Tensor:
    return intervene(pictures(indices), setting(name, value, indices)).query.x


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_changed_alike_in_any_batch(name: str) -> None:
    together = changed(name, 0.5)
    alone = torch.cat([changed(name, 0.5, range(i, i + 1)) for i in range(6)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_stay_in_range_and_support_and_labels_stay_as_they_were(name: str) -> None:
    before = pictures(range(6))
    after = intervene(before, setting(name, 0.4, range(6)))
    assert torch.equal(after.support.x, before.support.x)
    assert torch.equal(after.query_y, before.query_y)
    assert float(after.query.x.min()) >= 0
    assert float(after.query.x.max()) <= 1
    assert not torch.equal(after.query.x, before.query.x)


@pytest.mark.parametrize("name", ["rotation", "inversion", "noise", "occlusion"])
def test_level_zero_changes_nothing(name: str) -> None:
    assert torch.allclose(changed(name, 0.0), pictures(range(6)).query.x, atol=1e-5)


def test_severity_scales_one_and_the_same_noise() -> None:
    before = pictures(range(6)).query.x
    small, large = changed("noise", 0.01) - before, changed("noise", 0.02) - before
    inside = (before > 0.2) & (before < 0.8)
    assert torch.allclose(2 * small[inside], large[inside], atol=1e-5)


def test_a_rotation_by_ninety_degrees_is_a_quarter_turn() -> None:
    before, after = pictures(range(6)).query.x, changed("rotation", 90.0)
    turns = [torch.rot90(before, k, dims=(-2, -1)) for k in (1, 3)]
    error = torch.stack([(after - t).abs().amax((-1, -2, -3)) for t in turns]).amin(0)
    assert float(error.max()) < 1e-3
    both = torch.stack([(after - t).abs().amax((-1, -2, -3)) for t in turns]).argmin(0)
    assert 0 < int(both.sum()) < both.numel(), "both directions occur"


def test_inversion_at_one_is_the_negative() -> None:
    assert torch.allclose(changed("inversion", 1.0), 1 - pictures(range(6)).query.x)


def test_occlusion_erases_the_share_of_the_area_it_names() -> None:
    erased = (changed("occlusion", 0.25) == 0).float().mean((-1, -2, -3))
    assert float(erased.mean()) == pytest.approx(0.25, abs=0.03)


def test_blur_keeps_the_ink_and_flattens_it() -> None:
    x = torch.zeros(1, 1, 1, 28, 28)
    x[..., 14, 14] = 1.0
    soft = images.Blur().apply(x, 1.5, {})
    assert float(soft.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(soft.max()) == pytest.approx(1 / (2 * torch.pi * 1.5**2), rel=0.02)
