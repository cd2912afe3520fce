"""Interventions that plant a cue in images: right in the support, right or wrong in the query."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from metabench.conditions.base import INTERVENTIONS, Intervention, Setting
from metabench.conditions.labels import derangement
from metabench.episodes import Episodes, Kind
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import bounds
from metabench.tasks.cued import marked


class CueIntact(Intervention):
    """Support and query carry the mark of their class, as in cued glyphs; ``value`` is not used.

    Marks that are there already are replaced.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)

    def change(self, episodes: Episodes, setting: Setting) -> Episodes:
        """Labels stay; padded items stay zero."""
        support, query = episodes.support, episodes.query
        marks = self.query_marks(episodes, setting)
        x = marked(support.x, support.y) * support.mask[..., None, None, None]
        query_x = marked(query.x, marks) * query.mask[..., None, None, None]
        return replace(episodes, support=replace(support, x=x), query=replace(query, x=query_x))

    def query_marks(self, episodes: Episodes, setting: Setting) -> torch.Tensor:
        """The label that each query's mark names [T, Q]."""
        return episodes.query_y


class CueSwapped(CueIntact):
    """The support carries its classes' marks, a query that of another class; ``value`` is not used.

    All queries of a class carry the same wrong mark, by a random derangement of the classes.
    """

    fixed_way: ClassVar[bool] = True

    def arrays(self, draws: BlockDraws, items: int, shape: tuple[int, ...]) -> Plan:
        """The mark of each class [BLOCK, way]."""
        return {"mark": derangement(draws, items)}

    def query_marks(self, episodes: Episodes, setting: Setting) -> torch.Tensor:
        """Never the query's own label."""
        mark = setting.arrays("query", bounds(setting.shape.way)[1])["mark"]
        return mark.gather(1, episodes.query_y)


for _name, _intervention in (("cue-intact", CueIntact()), ("cue-swapped", CueSwapped())):
    INTERVENTIONS.register(_name)(_intervention)
