"""Backbones: shapes, normalisation by given statistics, and the fused kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metabench.errors import MetabenchError
from metabench.learners.backbones import Backbone, BackboneName, Conv4, ResNet12, backbone_for

NAMES: tuple[BackboneName, ...] = ("mlp", "conv4", "resnet12")


def build(name: BackboneName, **options: object) -> tuple[Backbone, dict[str, Tensor]]:
    made = backbone_for((2, 17, 17), 4, (6, 5), name=name, **options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    parameters = made.init(generator)
    # Scales of both signs and shifts that matter.
    return made, {
        k: (p + 0.5 * torch.randn(p.shape, generator=generator)).double()
        for k, p in parameters.items()
    }


def inputs(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 2, 17, 17, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_size_that_is_said(name: BackboneName, normalised: bool) -> None:
    backbone, p = build(name, normalised=normalised)
    z, statistics = backbone(p, inputs(3))
    assert z.shape == (3, backbone.features)
    assert bool(statistics) == normalised == backbone.normalised


@pytest.mark.parametrize("name", NAMES)
def test_given_statistics_make_every_row_independent(name: BackboneName) -> None:
    backbone, p = build(name, normalised=True)
    x = inputs(6)
    _, statistics = backbone(p, x)
    together, _ = backbone(p, x, statistics)
    alone = torch.cat([backbone(p, x[i : i + 1], statistics)[0] for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_masked_rows_leave_the_statistics_alone(name: BackboneName) -> None:
    backbone, p = build(name, normalised=True)
    x = inputs(5)
    mask = torch.tensor([True, True, False, True, False])
    padded, statistics = backbone(p, torch.where(mask.view(-1, 1, 1, 1), x, 7.0), None, mask)
    plain, expected = backbone(p, x[mask])
    assert torch.allclose(padded[mask], plain, atol=1e-12)
    for (mean, variance), (m, v) in zip(statistics, expected, strict=True):
        assert torch.allclose(mean, m)
        assert torch.allclose(variance, v)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_fused_kernels_give_the_same_features_statistics_and_gradients(
    name: BackboneName, given: bool
) -> None:
    found = []
    for fused in (False, True):
        backbone, p = build(name, normalised=True, fused=fused)
        leaves = {k: v.requires_grad_() for k, v in p.items()}
        statistics = build_statistics(backbone, p) if given else None
        z, used = backbone(leaves, inputs(7), statistics)
        gradients = torch.autograd.grad(z.square().sum(), list(leaves.values()))
        found.append([z, *(t for pair in used for t in pair), *gradients])
    for plain, fused_value in zip(*found, strict=True):
        assert torch.allclose(plain, fused_value, rtol=1e-9, atol=1e-9)


def build_statistics(backbone: Backbone, p: dict[str, Tensor]) -> tuple[tuple[Tensor, Tensor], ...]:
    _, statistics = backbone(p, inputs(4))
    return tuple((m.detach(), v.detach()) for m, v in statistics)


def test_resnet12_has_its_published_widths() -> None:
    backbone = backbone_for((3, 84, 84), 64, (), name="resnet12")
    assert isinstance(backbone, ResNet12)
    assert backbone.widths == (64, 160, 320, 640)
    count = sum(p.numel() for p in backbone.init(torch.Generator()).values())
    assert count == pytest.approx(12.4e6, rel=0.01)


def test_strides_and_pooling_halve_the_image() -> None:
    assert Conv4((1, 28, 28), 64).map == (64, 1, 1)
    assert Conv4((1, 28, 28), 64, strided=True).map == (64, 2, 2)
    assert Conv4((3, 84, 84), 32).map == (32, 5, 5)


def test_a_convolution_needs_images() -> None:
    with pytest.raises(MetabenchError, match="backbone 'conv4' needs inputs"):
        backbone_for((16,), 8, (8,), name="conv4")
