"""Interventions on the support set as a whole: another one, none, another order, a dropped item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from metabench.conditions.base import INTERVENTIONS, InputIntervention, Intervention, Setting
from metabench.episodes import Episodes, Support
from metabench.rng import BlockDraws, Plan


def rearranged(support: Support, order: Tensor, mask: Tensor | None = None) -> Support:
    """Items in the order [T, S]; where ``mask`` [T, S] (of the new order) is False, padding."""
    rows = torch.arange(len(order))[:, None]
    x, y = support.x[rows, order], support.y[rows, order]
    kept = support.mask[rows, order] if mask is None else mask
    shape = (*kept.shape, *[1] * (x.ndim - 2))
    y = y * (kept if y.ndim == 2 else kept[..., None])
    return replace(support, x=x * kept.view(shape), y=y, mask=kept)


def random_order(support: Support, keys: Tensor) -> Tensor:
    """A permutation [T, S] of the items by random keys in [0, 1); padding stays last."""
    return keys.masked_fill(~support.mask, 2.0).argsort(dim=1)


class _OneKeyEach(Intervention):
    """A random key in [0, 1) for each support item."""

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """[BLOCK, items]."""
        return {"key": draws("key").random((draws.size, items))}

    def keys(self, support: Support, setting: Setting) -> Tensor:
        """[T, S]."""
        return setting.arrays("support", support.mask.shape[1])["key"]


class OtherSupport(Intervention):
    """The support of an independent task of the same law; ``value`` is not used."""

    fixed_way: ClassVar[bool] = True

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """Query and labels stay."""
        return replace(episodes, support=setting.others().support)


class EmptySupport(Intervention):
    """No support at all: every item is padding; ``value`` is not used."""

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """x and y are zero."""
        s = episodes.support
        zeros = {"x": torch.zeros_like(s.x), "y": torch.zeros_like(s.y)}
        return replace(episodes, support=replace(s, **zeros, mask=torch.zeros_like(s.mask)))


class SupportOrder(_OneKeyEach):
    """The support in another random order; ``value`` is not used."""

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The same items."""
        support = episodes.support
        order = random_order(support, self.keys(support, setting))
        return replace(episodes, support=rearranged(support, order))


class DroppedItems(_OneKeyEach):
    """``value`` random support items fewer, of different classes in classification."""

    unit: ClassVar[str] = "items"
    least_shot: ClassVar[int] = 2

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The kept items keep their order; a class never loses more than one."""
        support = episodes.support
        keys = self.keys(support, setting).masked_fill(~support.mask, -1.0)
        if support.kind == "classification":
            # Only the first item of its class in random order may go.
            earlier = (keys[:, None] > keys[:, :, None]) & (
                support.y[:, None] == support.y[..., None]
            )
            keys = keys.masked_fill(earlier.any(dim=2), -1.0)
        dropped = keys.topk(int(setting.value), dim=1).indices
        kept = support.mask.scatter(1, dropped, False)
        order = (~kept).to(torch.int8).argsort(dim=1, stable=True)
        mask = kept.gather(1, order)
        return replace(episodes, support=rearranged(support, order, mask))


class Jitter(InputIntervention):
    """Gaussian noise of standard deviation ``value`` on the inputs, not clipped."""

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """Standard normal."""
        return {"noise": draws("noise").standard_normal((draws.size, items, *shape))}

    def apply(self, x: Tensor, value: float, arrays: Mapping[str, Tensor]) -> Tensor:
        """The same noise at every level, scaled."""
        return (x + value * arrays["noise"]).to(x.dtype)


for _name, _intervention in (
    ("other-support", OtherSupport()),
    ("empty-support", EmptySupport()),
    ("support-order", SupportOrder()),
    ("dropped-items", DroppedItems()),
    ("jitter", Jitter()),
):
    INTERVENTIONS.register(_name)(_intervention)
