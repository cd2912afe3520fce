"""Immune recognition of bit strings: genes that evolve, and antibodies that learn in a lifetime.

After Forrest, Javornik, Smith and Perelson 1993 and Hightower, Forrest and Perelson 1996 (the
Baldwin effect in the immune system). An antibody joins one segment from each gene library; it
binds an antigen as well as their bits are complementary. A world is a few prototypes; an antigen
is a prototype with bits flipped at random. Evolution, the outer loop, changes the libraries; in a
lifetime, the inner loop, the best antibody mutates bit by bit and keeps what binds better.

All antibodies of a library are expressed, so that their best match is a sum over the libraries,
and every expectation here is exact.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.stats import binom

from metabench.rng import Address

Array = NDArray[np.float64]
Codes = NDArray[np.uint8]

LIBRARIES, SEGMENTS, BITS = 4, 8, 8
LENGTH = LIBRARIES * BITS
"""Bits of an antigen: 32; libraries give 8^4 antibodies."""
CODES = np.arange(2**BITS, dtype=np.uint8)
ONES = np.unpackbits(CODES[:, None], axis=1).sum(axis=1).astype(np.int64)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Immune:
    """A law of worlds: so many random prototypes, and how far antigens stray from them."""

    prototypes: Annotated[int, Field(ge=1)] = 8
    stray: Annotated[float, Field(ge=0, le=1, description="p of a flipped bit")] = 0.05
    escape: Annotated[float, Field(ge=0, le=1, description="p of a flip at each exposure")] = 0.0
    mutations: Annotated[int, Field(ge=0, description="tried in a lifetime, K")] = 0

    def world(self, address: Address) -> Codes:
        """Prototypes [M, 4], each byte a part of 8 bits."""
        size = (self.prototypes, LIBRARIES)
        return address.generator("world").integers(0, 2**BITS, size, dtype=np.uint8)

    def antigens(self, world: Codes, generator: np.random.Generator, count: int) -> Codes:
        """Antigens [count, 4] of random prototypes."""
        which = generator.integers(len(world), size=count)
        flips = generator.random((count, LIBRARIES, BITS)) < self.stray
        return np.asarray(world[which] ^ np.packbits(flips, axis=2)[..., 0])

    def expected_match(self, library: Codes, world: Codes) -> float:
        """E[bits that the best germline antibody binds], over the antigens of a world; of 32."""
        flips = self.stray**ONES * (1 - self.stray) ** (BITS - ONES)
        total = 0.0
        for part in range(LIBRARIES):
            antigens = world[:, part, None] ^ CODES
            total += float((best_part(library[part], antigens) * flips).sum(axis=1).mean())
        return total

    def matured(self, match: float) -> float:
        """E[bits bound after the lifetime's mutations], from that many at first.

        In every exposure each bit of the antigen flips with p = ``escape``; then one bit of the
        antibody, drawn at random, is flipped, and stays so if it binds better. A bit is wrong
        with probability d -> (1 - 1/32)(d + escape (1 - 2 d)).
        """
        wrong = 1 - match / LENGTH
        keep = 1 - 1 / LENGTH
        rate = keep * (1 - 2 * self.escape)
        end = keep * self.escape / (1 - rate)
        return float(LENGTH * (1 - (end + (wrong - end) * rate**self.mutations)))

    def unlearned(self, match: float) -> float:
        """The same for an antibody that stays as it was while the antigen escapes."""
        wrong = 0.5 + (0.5 - match / LENGTH) * (1 - 2 * self.escape) ** self.mutations
        return float(LENGTH * (1 - wrong))

    def live(self, libraries: Codes, antigens: Codes, generator: np.random.Generator) -> Array:
        """Bits bound at the end of a lifetime [P, A], for libraries [P, 4, 8], antigens [A, 4].

        ``matured`` says what to expect.
        """
        antibodies = best_antibody(libraries[:, None], antigens)
        wrong = np.unpackbits(~(antibodies ^ antigens), axis=-1).reshape(-1, LENGTH)
        every = np.arange(len(wrong))
        for at in generator.integers(LENGTH, size=(self.mutations, len(wrong))):
            if self.escape:
                wrong ^= (generator.random(wrong.shape) < self.escape).astype(np.uint8)
            wrong[every, at] = 0
        bound = LENGTH - wrong.sum(axis=1, dtype=np.int64)
        return bound.reshape(antibodies.shape[:2]).astype(np.float64)

    def evolve(self, world: Codes, address: Address, evolution: Evolution) -> Codes:
        """The population of libraries [P, 4, 8] that lived in this world for all generations."""
        generator = address.generator("evolution")
        population = np.stack([random_library(generator) for _ in range(evolution.population)])
        for _ in range(evolution.generations):
            antigens = self.antigens(world, generator, evolution.exposures)
            fitness = self.live(population, antigens, generator).mean(axis=1)
            population = evolution.breed(population, fitness, generator)
        return population


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Evolution:
    """The outer loop: tournaments of two, crossover of whole segments, mutation of bits."""

    population: Annotated[int, Field(ge=2)] = 100
    generations: Annotated[int, Field(ge=0)] = 200
    exposures: Annotated[int, Field(ge=1, description="antigens in a lifetime")] = 32
    mutation: Annotated[float, Field(ge=0, le=1, description="p of a flip, each bit")] = 1e-3

    def breed(self, parents: Codes, fitness: Array, generator: np.random.Generator) -> Codes:
        """As many children, each of two winners of tournaments."""
        size = len(parents)
        pairs = generator.integers(size, size=(2, size, 2))
        winners = np.take_along_axis(pairs, fitness[pairs].argmax(-1)[..., None], -1)[..., 0]
        mother = generator.random((size, LIBRARIES, SEGMENTS)) < 0.5
        children = np.where(mother, parents[winners[0]], parents[winners[1]])
        flips = generator.random((*children.shape, BITS)) < self.mutation
        return np.asarray(children ^ np.packbits(flips, axis=-1)[..., 0])


def best_part(segments: Codes, antigens: Codes) -> NDArray[np.int64]:
    """Most bits that a segment [..., S] has complementary to each part of an antigen [...]."""
    return np.asarray(ONES[segments ^ antigens[..., None]].max(axis=-1), dtype=np.int64)


def best_antibody(library: Codes, antigens: Codes) -> Codes:
    """The antibody [..., 4] of libraries [..., 4, 8] that binds the antigens [..., 4] best."""
    chosen = ONES[library ^ antigens[..., None]].argmax(axis=-1)[..., None]
    whole = np.broadcast_to(library, (*chosen.shape[:-1], SEGMENTS))
    return np.asarray(np.take_along_axis(whole, chosen, axis=-1)[..., 0])


def random_library(generator: np.random.Generator) -> Codes:
    """[4, 8] random bytes."""
    return generator.integers(0, 2**BITS, (LIBRARIES, SEGMENTS), dtype=np.uint8)


def random_match() -> float:
    """E[best match] of a random library and any antigen: 4 E[max of 8 Binomial(8, 1/2)].

    Also that of any library that knows nothing of the world, as an antigen of a new random
    prototype is uniform, on average over libraries made the same way.
    """
    below = binom.cdf(np.arange(BITS), BITS, 0.5) ** SEGMENTS
    return float(LIBRARIES * (1 - below).sum())


def complementary_library(world: Codes) -> Codes:
    """Segment m of every library is the complement of prototype m's part; [4, 8].

    Raises ValueError for more prototypes than segments; spare segments repeat the first.
    """
    if len(world) > SEGMENTS:
        raise ValueError(f"{len(world)} prototypes do not fit in {SEGMENTS} segments")
    return np.asarray(~world[np.arange(SEGMENTS) % len(world)].T)
