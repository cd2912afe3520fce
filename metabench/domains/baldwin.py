"""How learning can guide evolution: the model of Hinton and Nowlan 1987 (Complex Systems 1).

A genome has a right allele, a wrong one or an undecided one at every locus. An individual guesses
its undecided loci anew, up to so many times, and stops at the one combination that counts. Nothing
learned is inherited; still, whoever needs fewer guesses has more offspring. The model shows that
the ability to learn makes a needle in a haystack findable. That learned traits become innate it
shows only in part: undecided alleles stay (Fontanari and Santos 2017 argue that what it selects is
the ability to learn). The outer loop is evolution, the inner one is guessing.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated
from scipy.stats import binom

from metabench.rng import Address

WRONG, RIGHT, UNDECIDED = 0, 1, 2
Genomes = NDArray[np.int8]
Array = NDArray[np.float64]


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Baldwin:
    """The paper's world by default: one target, which learners find; no mutation."""

    loci: Annotated[int, Field(ge=2)] = 20
    individuals: Annotated[int, Field(ge=2)] = 1000
    guesses: Annotated[int, Field(ge=0, description="in a lifetime; 0: nobody learns")] = 1000
    undecided: Annotated[float, Field(ge=0, le=1, description="at the start; others halve")] = 0.5
    benefit: Annotated[float, Field(ge=0, description="of finding it with all guesses left")] = 19.0
    flip_loci: Annotated[int, Field(ge=0, description="of the target, each time it moves")] = 0
    flip_every: Annotated[int, Field(ge=1, description="generations")] = 10

    def first(self, address: Address) -> Genomes:
        """Generation 0, [N, L]."""
        u = address.generator("genomes").random((self.individuals, self.loci))
        fixed = np.where(u < self.undecided + (1 - self.undecided) / 2, RIGHT, WRONG)
        return np.where(u < self.undecided, UNDECIDED, fixed).astype(np.int8)

    def live(self, genomes: Genomes, generator: np.random.Generator) -> Array:
        """Fitness [N]: 1 + benefit x share of the guesses left when the target is found.

        All guesses are left where there is nothing to guess. The number of guesses up to the
        first success is geometric with p = 2^-(undecided loci).
        """
        open_loci = (genomes == UNDECIDED).sum(axis=1)
        used = generator.geometric(0.5**open_loci) * (open_loci > 0)
        left = np.maximum(self.guesses - used, 0) / max(self.guesses, 1)
        if self.guesses == 0:
            left = (open_loci == 0).astype(np.float64)
        return np.asarray(1 + self.benefit * left * (genomes != WRONG).all(axis=1))

    def breed(self, genomes: Genomes, fitness: Array, generator: np.random.Generator) -> Genomes:
        """N children of parents drawn in proportion to fitness, one-point crossover [N, L]."""
        parents = generator.choice(len(genomes), (2, len(genomes)), p=fitness / fitness.sum())
        cut = generator.integers(1, self.loci, len(genomes))[:, None]
        left = np.arange(self.loci) < cut
        return np.asarray(np.where(left, genomes[parents[0]], genomes[parents[1]]))

    def move_target(self, genomes: Genomes, generator: np.random.Generator) -> Genomes:
        """Right and wrong change places at ``flip_loci`` loci."""
        moved = generator.permutation(self.loci) < self.flip_loci
        decided = moved & (genomes != UNDECIDED)
        return np.where(decided, RIGHT - genomes, genomes).astype(np.int8)

    def evolve(self, address: Address, generations: int = 50) -> pd.DataFrame:
        """Rows (generation, fitness, right, wrong, undecided, solved): means over the individuals.

        ``solved`` is the share of individuals that found the target in their lifetime.
        """
        genomes = self.first(address)
        rows = []
        for generation in range(generations + 1):
            if self.flip_loci and generation and generation % self.flip_every == 0:
                genomes = self.move_target(genomes, address.generator("target", generation))
            fitness = self.live(genomes, address.generator("guesses", generation))
            shares = [float((genomes == allele).mean()) for allele in (RIGHT, WRONG, UNDECIDED)]
            solved = float((fitness > 1).mean())
            rows.append((generation, float(fitness.mean()), *shares, solved))
            genomes = self.breed(genomes, fitness, address.generator("matings", generation))
        columns = ["generation", "fitness", "right", "wrong", "undecided", "solved"]
        return pd.DataFrame(rows, columns=columns)

    def first_fitness(self) -> float:
        """E[fitness] of generation 0.

        With n guesses and p = 2^-k, E[(n - G)+] = n - (1 - (1 - p)^n) / p for G geometric.
        """
        k = np.arange(self.loci + 1)
        wrong = (1 - self.undecided) / 2
        possible = binom.pmf(k, self.loci, self.undecided / (1 - wrong))
        possible = possible * (1 - wrong) ** self.loci
        p = 0.5**k
        n = max(self.guesses, 1)
        left = (n - (1 - (1 - p) ** n) / p) / n if self.guesses else np.zeros(len(k))
        left[0] = 1.0
        return float(1 + self.benefit * (possible * left).sum())
