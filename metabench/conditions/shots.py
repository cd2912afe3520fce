"""Interventions on how many items a class has: unequal shots, unequal queries."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaincinv
from torch import Tensor

from metabench.conditions.base import INTERVENTIONS, Intervention, Setting
from metabench.conditions.support import rearranged
from metabench.episodes import Episodes, Kind, Query
from metabench.errors import MetabenchError
from metabench.rng import BlockDraws, Plan
from metabench.tasks import Shape, sample
from metabench.tasks.base import bounds


class Imbalance(Intervention):
    """Shots rise linearly from class to class, the largest ``value`` times the smallest.

    The mean over classes stays the shot of the episode; which class has how many is random. The
    imbalance types are those of Ochal et al. 2023 (IEEE Transactions on Artificial Intelligence).
    """

    unit: ClassVar[str] = "largest : smallest"
    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)
    fixed_way: ClassVar[bool] = True
    least_shot: ClassVar[int] = 2

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """The rank of each class [BLOCK, way]."""
        return {"rank": draws("rank").random((draws.size, items)).argsort(axis=1)}

    def ratios(self, way: int, most: float) -> NDArray[np.float64]:
        """Shots relative to the smallest [way], ascending, the last ``most``."""
        return np.linspace(1, most, way)

    def shots(self, shape: Shape, value: float) -> NDArray[np.int64]:
        """Shots of the classes [way], ascending, the shot on average.

        The nearest integers, the largest remainders rounded up. Raises MetabenchError where the
        smallest class would have less than one, or shot and way are not fixed.
        """
        way, shot = shape.way, shape.shot
        if not (isinstance(way, int) and isinstance(shot, int)):
            raise MetabenchError("imbalance needs the same way and shot in every episode")
        ratios = self.ratios(way, value)
        exact = way * shot * ratios / ratios.sum()
        if exact[0] < 1 - 1e-9:
            least = shot / exact[0]
            raise MetabenchError(
                f"an imbalance of {value:g} needs a mean shot of {least:.3g} or more, found {shot}"
            )
        count = np.floor(exact + 1e-9).astype(np.int64)
        short = way * shot - int(count.sum())
        count[np.argsort(count - exact, kind="stable")[:short]] += 1
        return np.sort(count)

    def needed(self, shape: Shape, value: float) -> Shape:
        """As many shots for all classes as the largest has."""
        return shape.model_copy(update={"shot": int(self.shots(shape, value)[-1])})

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The same tasks with a larger support, of which each class keeps its first items."""
        counts = self.shots(setting.shape, setting.value)
        larger = self.needed(setting.shape, setting.value)
        drawn = sample(setting.distribution, larger, setting.address, setting.indices).support
        rank = setting.arrays("support", len(counts))["rank"]
        allowed = torch.from_numpy(counts)[rank].gather(1, drawn.y)
        kept = _earlier(drawn.y, drawn.mask) < allowed
        order = (~kept).to(torch.int8).argsort(dim=1, stable=True)[:, : int(counts.sum())]
        return replace(episodes, support=rearranged(drawn, order))


class StepImbalance(Imbalance):
    """Half of the classes, rounded down, have ``value`` times the shots of the others."""

    def ratios(self, way: int, most: float) -> NDArray[np.float64]:
        """One or the other."""
        return np.where(np.arange(way) < way - way // 2, 1.0, most)


class QueryPrior(Intervention):
    """Queries are unequally many: proportions from a symmetric Dirichlet, parameter ``value``.

    The most frequent class keeps all of its queries and every other a part, rounded at random so
    that the proportions are right on average.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """A quantile and a rounding of each class [BLOCK, way]."""
        size = (draws.size, items)
        return {"quantile": draws("quantile").random(size), "round": draws("round").random(size)}

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """The support stays; queries that are left come first, in their order."""
        query, y, way = episodes.query, episodes.query_y, bounds(setting.shape.way)[1]
        arrays = setting.arrays("query", way)
        gamma = torch.from_numpy(gammaincinv(setting.value, arrays["quantile"].numpy()))
        here = torch.arange(way) < episodes.support.way[:, None]
        gamma = gamma.masked_fill(~here, 0.0)
        most = setting.shape.query
        exact = most * gamma / gamma.amax(dim=1, keepdim=True)
        allowed = (exact + arrays["round"]).floor().clamp_max(most).long()
        kept = query.mask & (_earlier(y, query.mask) < allowed.gather(1, y))
        order = (~kept).to(torch.int8).argsort(dim=1, stable=True)
        rows, kept = torch.arange(len(y))[:, None], kept.gather(1, order)
        x = query.x[rows, order] * kept.view(*kept.shape, *[1] * (query.x.ndim - 2))
        return replace(episodes, query=Query(x, kept), query_y=y[rows, order] * kept)


def _earlier(y: Tensor, mask: Tensor) -> Tensor:
    """How many valid items of the same class come before each item [T, n]."""
    same = (y[:, :, None] == y[:, None]) & mask[:, None]
    return same.tril(-1).sum(dim=2)


for _name, _intervention in (
    ("imbalance", Imbalance()),
    ("step-imbalance", StepImbalance()),
    ("query-prior", QueryPrior()),
):
    INTERVENTIONS.register(_name)(_intervention)
