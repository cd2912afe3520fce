"""Interventions on labels and targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.conditions.base import INTERVENTIONS, Intervention, Setting
from metabench.conditions.support import random_order
from metabench.episodes import Episodes, Kind, Support
from metabench.rng import BlockDraws, Plan


def derangement(draws: BlockDraws, items: int) -> NDArray[np.int64]:
    """A random cycle through range(items): another id for each [BLOCK, items]."""
    cycle = draws("cycle").random((draws.size, items)).argsort(axis=1)
    new = np.empty_like(cycle)
    np.put_along_axis(new, cycle, np.roll(cycle, -1, axis=1), axis=1)
    return new


class LabelPermutation(Intervention):
    """Class ids of support and query renamed by a derangement; ``value`` is not used.

    A learner that reads its labels from the support renames its predictions with them.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)
    fixed_way: ClassVar[bool] = True
    known: ClassVar[bool] = True

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """The new id of each [BLOCK, way]."""
        return {"new": derangement(draws, items)}

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """Inputs stay."""
        support = episodes.support
        new = setting.arrays("labels", support.max_way)["new"]
        y = new.gather(1, support.y) * support.mask
        query_y = new.gather(1, episodes.query_y) * episodes.query.mask
        return replace(episodes, support=replace(support, y=y), query_y=query_y)

    def followed(self, output: Tensor, setting: Setting) -> Tensor:
        """The score of a class goes with its id."""
        way = setting.shape.way
        assert isinstance(way, int)
        new = setting.arrays("labels", way)["new"].to(output.device)
        index = new[:, None].expand(-1, output.shape[1], -1)
        return torch.full_like(output, float("-inf")).scatter(2, index, output[..., :way])


class _RandomItems(Intervention):
    """For each support item a uniform key and a standard normal."""

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """[BLOCK, items] each."""
        size = (draws.size, items)
        return {
            "key": draws("key").random(size),
            "other": draws("other").random(size),
            "normal": draws("normal").standard_normal(size),
        }


class ShuffledLabels(_RandomItems):
    """Labels or targets of the support dealt anew among its items; ``value`` is not used."""

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """Inputs stay where they are."""
        support = episodes.support
        order = random_order(support, setting.arrays("support", support.mask.shape[1])["key"])
        y = support.y[torch.arange(len(order))[:, None], order]
        return replace(episodes, support=replace(support, y=y))


class LabelNoise(_RandomItems):
    """Classification: the share ``value`` of support labels becomes another class, at random.

    Regression: support targets get Gaussian noise of standard deviation ``value``.
    """

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The query labels stay right."""
        support = episodes.support
        arrays = setting.arrays("support", support.mask.shape[1])
        if support.kind == "regression":
            y = _added(support, setting.value * arrays["normal"])
        else:
            y = torch.where(arrays["key"] < setting.value, _another(support, arrays), support.y)
        return replace(episodes, support=replace(support, y=y))


class PairFlip(_RandomItems):
    """The share ``value`` of support labels c becomes the next class, c + 1."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The query labels stay right."""
        support = episodes.support
        key = setting.arrays("support", support.mask.shape[1])["key"]
        following = (support.y + 1) % support.way[:, None] * support.mask
        y = torch.where(key < setting.value, following, support.y)
        return replace(episodes, support=replace(support, y=y))


class OutlierLabel(_RandomItems):
    """One random support item has the label of another class, or a target ``value`` too high."""

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The query labels stay right."""
        support = episodes.support
        arrays = setting.arrays("support", support.mask.shape[1])
        chosen = arrays["key"].masked_fill(~support.mask, -1.0).argmax(dim=1, keepdim=True)
        one = torch.zeros_like(support.mask).scatter(1, chosen, True)
        if support.kind == "regression":
            y = _added(support, setting.value * one)
        else:
            y = torch.where(one, _another(support, arrays), support.y)
        return replace(episodes, support=replace(support, y=y))


def _added(support: Support, amount: Tensor) -> Tensor:
    """Targets with amount [T, S] added in every dimension."""
    return (support.y + (amount * support.mask)[..., None]).to(support.y.dtype)


def _another(support: Support, arrays: Mapping[str, Tensor]) -> Tensor:
    """For each item a class that is not its own [T, S]."""
    way = support.way[:, None]
    step = 1 + (arrays["other"] * (way - 1)).long()
    return (support.y + step) % way * support.mask


for _name, _intervention in (
    ("label-permutation", LabelPermutation()),
    ("shuffled-labels", ShuffledLabels()),
    ("label-noise", LabelNoise()),
    ("pair-flip", PairFlip()),
    ("outlier-label", OutlierLabel()),
):
    INTERVENTIONS.register(_name)(_intervention)
