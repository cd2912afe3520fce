"""A fixed set of labelled items, as an ordinary classifier is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.rng import Address

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """C classes of I items each; item i is of class i // I.

    ``fetch`` gives the inputs [n, *X] of items [n] on a device. Where episodes are made of the
    items of a catalogue, ``digest`` names its content.
    """

    classes: int
    items: int
    fetch: Callable[[Ints, torch.device], Tensor]
    digest: str = ""

    def ordered(self, address: Address, positions: range) -> Ints:
        """The items at these positions of an endless sequence of epochs.

        Each epoch is the whole catalogue in a random order of its own, a function of the address.
        """
        size = self.classes * self.items
        at = np.asarray(positions, dtype=np.int64)
        epoch = at // size
        parts = [
            _epoch(address, e, size)[at[epoch == e] % size]
            for e in range(int(epoch[0]), int(epoch[-1]) + 1)
        ]
        return np.concatenate(parts)


@lru_cache(maxsize=2)
def _epoch(address: Address, epoch: int, size: int) -> Ints:
    return address.generator("order", epoch).permutation(size)
