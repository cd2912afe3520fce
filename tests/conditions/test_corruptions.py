"""Image corruptions of five severities."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from metabench.conditions import INTERVENTIONS, Setting, corruptions, intervene
from metabench.conditions.base import On
from metabench.conditions.jpeg import compressed
from metabench.episodes import Episodes, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

ADDRESS, SHAPE = Address.of("tests", "corruptions"), Shape(way=2, shot=2, query=2)
NAMES = [n for n in INTERVENTIONS if type(INTERVENTIONS.get(n)).__module__ == corruptions.__name__]
GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def smooth(x: torch.Tensor) -> torch.Tensor:
    """Pictures with some structure, in [0, 1]."""
    flat = torch.nn.functional.avg_pool2d(x.flatten(0, 1), 5, stride=1, padding=2)
    return (0.5 + flat).clamp(0, 1).view_as(x)


def pictures(shape: tuple[int, ...], indices: range) -> Episodes:
    e = sample(Clusters(shape=shape), SHAPE, ADDRESS, indices)
    s = e.support
    query = Query(smooth(e.query.x), e.query.mask)
    return Episodes(Support(smooth(s.x), s.y, s.mask, s.way), query, e.query_y)


def changed(
    name: str, level: int, shape: tuple[int, ...], indices: range = range(6), on: On = "query"
) -> Episodes:
    task = Clusters(shape=shape)
    setting = Setting(name, float(level), on, task, SHAPE, ADDRESS, indices)
    return intervene(pictures(shape, indices), setting)


@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_changed_alike_in_any_batch_and_stays_in_range(
    name: str, shape: tuple[int, ...]
) -> None:
    together = changed(name, 4, shape).query.x
    alone = torch.cat([changed(name, 4, shape, range(i, i + 1)).query.x for i in range(6)])
    assert torch.equal(together, alone)
    assert together.dtype == torch.float32
    assert float(together.min()) >= 0
    assert float(together.max()) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_support_query_or_both_are_changed_and_labels_never(name: str) -> None:
    before = pictures(GREY, range(6))
    for on in ("support", "query", "both"):
        after = changed(name, 3, GREY, on=on)  # type: ignore[arg-type]
        assert torch.equal(after.support.x, before.support.x) == (on == "query")
        assert torch.equal(after.query.x, before.query.x) == (on == "support")
        assert torch.equal(after.support.y, before.support.y)
        assert torch.equal(after.query_y, before.query_y)
        assert torch.equal(after.support.mask, before.support.mask)


# Elastic trades the affine map for a rougher field, and is not ordered by distance.
@pytest.mark.parametrize("name", [n for n in NAMES if n != "elastic"])
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
def test_the_fifth_severity_is_further_from_the_picture_than_the_first(
    name: str, shape: tuple[int, ...]
) -> None:
    before = pictures(shape, range(20)).query.x
    far = [
        float((changed(name, s, shape, range(20)).query.x - before).square().mean())
        for s in range(1, 6)
    ]
    assert 0 < far[0] < far[-1]
    if name != "pixelate":  # whose error also depends on how the grids fall
        assert far == sorted(far)


@pytest.mark.parametrize("severity", [0.0, 2.5, 6.0])
def test_another_severity_is_refused(severity: float) -> None:
    for name in NAMES:
        with pytest.raises(MetabenchError, match="severity must be 1, 2, 3, 4 or 5"):
            INTERVENTIONS.get(name).needed(SHAPE, severity)


def test_contrast_keeps_the_mean_of_a_channel_and_scales_its_spread() -> None:
    before = pictures(COLOUR, range(6)).query.x
    after = changed("contrast", 4, COLOUR).query.x
    assert torch.allclose(after.mean((-1, -2)), before.mean((-1, -2)), atol=1e-5)
    assert torch.allclose(after.std((-1, -2)), 0.3 * before.std((-1, -2)), atol=1e-5)


def test_brightness_adds_on_grey_and_keeps_the_hue_of_colours() -> None:
    before = pictures(GREY, range(6)).query.x
    assert torch.allclose(changed("brightness", 2, GREY).query.x, (before + 0.1).clamp(max=1))
    colour = pictures(COLOUR, range(6)).query.x.clamp_min(0.05)
    after = corruptions.Brightness().apply(colour, 2, {})
    top, bottom = colour.amax(2), after.amax(2)
    assert torch.allclose(bottom, (top + 0.1).clamp(max=1), atol=1e-6)
    ratios = after / after.sum(2, keepdim=True), colour / colour.sum(2, keepdim=True)
    assert torch.allclose(*ratios, atol=1e-5)
    black = corruptions.Brightness().apply(torch.zeros(1, 1, 3, 4, 4), 1, {})
    assert torch.allclose(black, torch.full_like(black, 0.05))


def test_pixelate_leaves_so_many_different_rows_and_columns() -> None:
    after = changed("pixelate", 5, COLOUR).query.x
    assert int((after.diff(dim=-1).abs().amax((0, 1, 2, 3)) > 0).sum()) == 20 - 1
    flat = torch.full((1, 1, 1, 28, 28), 0.7)
    assert torch.allclose(corruptions.Pixelate().apply(flat, 3, {}), flat, atol=1e-6)


def test_impulses_hit_the_share_of_the_severity_half_of_them_white() -> None:
    before = pictures(COLOUR, range(40)).query.x.clamp(0.1, 0.9)
    for level, share in ((1, 0.01), (5, 0.07)):
        task = Clusters(shape=COLOUR)
        setting = Setting("impulse-noise", level, "query", task, SHAPE, ADDRESS, range(40))
        arrays = setting.arrays("query", 4, COLOUR)
        after = corruptions.ImpulseNoise().apply(before, level, arrays)
        hit = after != before
        error = (share / hit.numel()) ** 0.5
        assert float(hit.double().mean()) == pytest.approx(share, abs=4 * error)
        assert float((after[hit] == 1).double().mean()) == pytest.approx(0.5, abs=0.03)
        assert bool(((after[hit] == 0) | (after[hit] == 1)).all())


def test_shot_noise_is_poisson() -> None:
    quantile = np.linspace(0.0005, 0.9995, 300)
    for level, scale in ((1, 50.0), (30, 75.0), (255, 500.0)):
        ours = corruptions.photons(np.full(300, level), scale, quantile)
        assert np.array_equal(ours, stats.poisson.ppf(quantile, scale * level / 255))
    assert corruptions.photons(np.array([255]), 500.0, np.zeros(1)) == 0
    grey = torch.full((64, 4, 1, 28, 28), 0.4)  # 102 / 255
    quantiles = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0))
    after = corruptions.ShotNoise().apply(grey, 5, {"quantile": quantiles})
    assert float(after.mean()) == pytest.approx(0.4, abs=1e-3)
    assert float(after.var()) == pytest.approx(0.4 / 50, rel=0.02)
    assert not corruptions.ShotNoise().apply(grey * 0, 5, {"quantile": quantiles}).any()


def test_motion_blur_smears_a_point_one_way_along_its_direction() -> None:
    x = torch.zeros(1, 1, 1, 32, 32)
    x[..., 16, 16] = 1
    after = corruptions.MotionBlur().apply(x, 3, {"angle": torch.zeros(1, 1)})
    weight = torch.exp(-torch.arange(7.0).square() / 8)
    expected = torch.zeros(32)
    expected[10:17] = (weight / weight.sum()).flip(0)
    assert torch.allclose(after[0, 0, 0, 16], expected, atol=1e-5)
    assert float(after.sum()) == pytest.approx(1.0, abs=1e-5)
    tilted = corruptions.MotionBlur().apply(x, 3, {"angle": torch.full((1, 1), 0.7)})
    assert float(tilted[0, 0, 0, :16].sum()) > 0.4, "it leaves the row"


def test_elastic_with_still_points_and_no_field_is_the_picture() -> None:
    x = pictures(GREY, range(2)).query.x
    still = {"points": torch.zeros(2, 4, 3, 2), "field": torch.zeros(2, 4, 2, 28, 28)}
    for level in range(1, 6):
        assert torch.allclose(corruptions.Elastic().apply(x, level, still), x, atol=1e-4)


def test_elastic_carries_the_three_points_to_where_they_moved() -> None:
    """One point moved alike by all three is a shift of the picture."""
    x = torch.zeros(1, 1, 1, 32, 32)
    x[..., 16, 16] = 1
    move = torch.tensor([2 / 2.56, -1 / 2.56]).expand(1, 1, 3, 2)
    arrays = {"points": move, "field": torch.zeros(1, 1, 2, 32, 32)}
    after = corruptions.Elastic().apply(x, 1, arrays)
    assert float(after[0, 0, 0, 15, 18]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("quality", [80, 40])
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
def test_what_jpeg_loses_is_what_a_jpeg_file_loses(shape: tuple[int, ...], quality: int) -> None:
    # A tint for each picture: where colours change fast, decoders differ in how they enlarge them.
    grey = pictures((1, *shape[1:]), range(3)).query.x.flatten(0, 1)
    tint = torch.tensor([1.0, 0.8, 0.5])[: shape[0], None, None]
    x = (grey * tint * 255).round() / 255
    ours, known = (255 * compressed(x, quality)).round(), []
    for picture in x:
        pixels = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        decoded = np.array(Image.open(file)).reshape(*shape[1:], -1)
        known.append(torch.from_numpy(decoded).permute(2, 0, 1).float())
    lost, in_file = ours - 255 * x, torch.stack(known) - 255 * x
    assert float(in_file.abs().mean()) > 2
    both = torch.stack([lost.flatten(), in_file.flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.97
    assert float(lost.abs().mean()) == pytest.approx(float(in_file.abs().mean()), rel=0.05)
