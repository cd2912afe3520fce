"""Addresses: every random number of the benchmark is a pure function of a name.

A stream is named by its parts (suite fingerprint, source, split, meta-seed, ...). Episodes of a
stream are drawn in blocks of ``BLOCK``: block ``b`` of the named array ``v`` comes from NumPy's
counter-based Philox generator, keyed by a hash of (parts, v), with ``b`` as its counter. Episode
``i`` is row ``i % BLOCK`` of block ``i // BLOCK``, whatever the batch size, order, process or
device, and arrays with different names never disturb each other: a condition that draws one thing
more leaves everything else as it was (common random numbers).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 64
"""Episodes drawn together. Part of every episode's identity: changing it changes all episodes."""

Plan = Mapping[str, NDArray[np.generic]]
"""Named arrays that describe episodes; the leading axis is the episode."""


def digest(*parts: object) -> bytes:
    """A 256-bit hash of the parts; ("ab", "c") and ("a", "bc") differ."""
    h = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = str(part).encode()
        h.update(len(data).to_bytes(8, "little") + data)
    return h.digest()


@dataclass(frozen=True, slots=True)
class Address:
    """The name of one stream of episodes."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, *parts: object) -> Address:
        """An address from anything that prints."""
        return cls(tuple(str(p) for p in parts))

    def child(self, *parts: object) -> Address:
        """The stream of that name below this one."""
        return Address(self.parts + tuple(str(p) for p in parts))

    def generator(self, name: str = "", block: int = 0) -> np.random.Generator:
        """The generator of block ``block`` of the array ``name``."""
        key = np.frombuffer(digest(*self.parts, name)[:16], dtype=np.uint64)
        # The block sits in the counter's most significant word, so blocks are 2**192 draws apart.
        counter = np.array([0, 0, 0, block], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def seed(self) -> int:
        """A 63-bit integer for libraries that want one."""
        return int.from_bytes(digest(*self.parts)[:8], "little") >> 1

    def torch_generator(self) -> torch.Generator:
        """A CPU torch generator of its own; the global one is never touched."""
        return torch.Generator().manual_seed(self.seed())


@dataclass(frozen=True)
class Streams:
    """The generators below an address, one for each name, moved from block to block.

    To make one costs more than to draw a block of numbers from it.
    """

    address: Address
    _made: dict[str, tuple[np.random.Generator, Any]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def at(self, name: str, block: int) -> np.random.Generator:
        """As ``Address.generator``, valid until the same name is asked for again."""
        if name not in self._made:
            made = self.address.generator(name, block)
            self._made[name] = made, made.bit_generator.state
            return made
        made, start = self._made[name]
        start["state"]["counter"][3] = block
        made.bit_generator.state = start
        return made


@dataclass(frozen=True, slots=True)
class BlockDraws:
    """Gives a planner the generators of one block, by name."""

    streams: Streams
    block: int
    size: int = BLOCK

    def __call__(self, name: str) -> np.random.Generator:
        """The generator of the array of that name in this block."""
        return self.streams.at(name, self.block)


Planner = Callable[[BlockDraws], Plan]


def draw(planner: Planner, address: Address, indices: Sequence[int] | range) -> Plan:
    """Plan the episodes of these indices, in this order.

    ``planner`` maps one block's draws to arrays whose leading axis is ``BLOCK``. Whole blocks are
    drawn and rows picked, so any subset in any order gives the same episodes. A hashable planner
    (a frozen task distribution) has its last blocks remembered.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    if wanted.size == 0 or wanted.min() < 0:
        raise ValueError("indices must be non-negative and not empty")
    blocks, where = np.unique(wanted // BLOCK, return_inverse=True)
    streams = Streams(address)
    plans = [_block(planner, streams, int(b)) for b in blocks]
    if np.all(np.diff(wanted) == 1):
        # The rows of each block in one piece, which is far cheaper than to pick them.
        first, end = int(wanted[0]), int(wanted[-1]) + 1
        parts = [
            (plan, slice(max(0, first - int(b) * BLOCK), end - int(b) * BLOCK))
            for b, plan in zip(blocks, plans, strict=True)
        ]
        return {name: np.concatenate([p[name][rows] for p, rows in parts]) for name in plans[0]}
    rows = where * BLOCK + wanted % BLOCK
    return {name: np.concatenate([p[name] for p in plans])[rows] for name in plans[0]}


@lru_cache(maxsize=4)
def _block(planner: Planner, streams: Streams, block: int) -> Plan:
    return planner(BlockDraws(streams, block))
