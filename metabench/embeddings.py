"""Embeddings of the items of a pool, each computed once for all the episodes that use it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import Episodes, Prediction, to_device
from metabench.learners.embedding import Embeds, Part
from metabench.rng import Address
from metabench.tasks import TaskDistribution
from metabench.tasks.catalogue import Catalogue

LARGEST = 2**26
"""Numbers in all tables of a cell, at most (256 MiB): beyond it, episodes embed their own."""
BATCH = 2**16
"""Numbers in the inputs embedded together, at most."""


@dataclass
class Table:
    """Predicts episodes whose inputs [T, n, 1] are items of a catalogue.

    An item is embedded when it is first met. With which others depends on the episodes predicted
    so far and on nothing else; their order is random, for that of the catalogue tells the class.
    """

    learner: Embeds
    catalogue: Catalogue
    device: torch.device
    rank: NDArray[np.int64]
    """A random permutation of the items."""
    rows: Tensor
    """The embeddings [C * I, F]."""
    batch: int
    """Items embedded together, at most."""
    met: NDArray[np.bool_] = field(init=False)
    """Which rows are filled [C * I]."""

    def __post_init__(self) -> None:
        self.met = np.zeros(len(self.rows), dtype=np.bool_)

    @property
    def features(self) -> int:
        """F."""
        return self.rows.shape[1]

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Predict every query; adaptation happens before the learner is given one."""
        state = self.learner.adapt_embedded(self.look_up(episodes.support))
        return self.learner.predict_embedded(state, self.look_up(episodes.query))

    def at(self, point: object) -> Table:
        """Itself: it serves only points that leave the learner as it is."""
        return self

    def look_up(self, part: Part) -> Part:
        """The part on the device, with embeddings [T, n, F], zero where padded."""
        items = part.x.squeeze(-1)
        self._embed(np.unique(items[part.mask].numpy()))
        part = to_device(part, self.device)
        z = self.rows[part.x.squeeze(-1)]
        return replace(part, x=z.masked_fill_(~part.mask[..., None], 0.0))

    def _embed(self, items: NDArray[np.int64]) -> None:
        new = items[~self.met[items]]
        new = new[self.rank[new].argsort()]
        for start in range(0, len(new), self.batch):
            some = new[start : start + self.batch]
            self.rows[torch.from_numpy(some).to(self.device)] = self.learner.embed_items(
                fetch(self.catalogue, some, self.device)
            ).detach()
        self.met[new] = True


def fetch(catalogue: Catalogue, items: NDArray[np.int64], device: torch.device) -> Tensor:
    """Inputs by way of the CPU, as those of episodes."""
    return catalogue.fetch(items, torch.device("cpu")).to(device)


@dataclass
class Tables:
    """The tables of one learner, for as long as a cell is evaluated, by content of the pool."""

    learner: Embeds
    device: torch.device
    address: Address
    held: dict[str, Table] = field(default_factory=dict)

    def of(self, distribution: TaskDistribution) -> Table | None:
        """The table of the distribution's catalogue; None where it would be too large."""
        catalogue = distribution.catalogue(self.address)
        if catalogue.digest in self.held:
            return self.held[catalogue.digest]
        x = fetch(catalogue, np.zeros(1, dtype=np.int64), self.device)
        z = self.learner.embed_items(x).detach()
        size = catalogue.classes * catalogue.items
        if size * z.shape[1] + sum(t.rows.numel() for t in self.held.values()) > LARGEST:
            return None
        rank = self.address.child("embedded").generator().permutation(size)
        # Memory is taken only by rows that are filled.
        rows = z.new_empty(size, z.shape[1])
        made = Table(self.learner, catalogue, self.device, rank, rows, max(1, BATCH // x.numel()))
        self.held[catalogue.digest] = made
        return made
