"""Hinton and Nowlan 1987: learning guides evolution to a needle in a haystack.

python benchmarks/reproduce/baldwin.py
"""

from __future__ import annotations

from common import Figure
from exact import Check, Measures, run

from metabench.domains.baldwin import Baldwin
from metabench.rng import Address

LEARNERS, NOBODY = "learners", "nobody learns"
WORLDS = {
    LEARNERS: Baldwin(),
    NOBODY: Baldwin(guesses=0),
    "10 guesses": Baldwin(guesses=10),
    "100 guesses": Baldwin(guesses=100),
    "10 loci": Baldwin(loci=10),
    "30 loci": Baldwin(loci=30),
    "target moves 1 locus every 10 generations": Baldwin(flip_loci=1),
    "target moves 2 loci every 10 generations": Baldwin(flip_loci=2),
}
GENERATIONS = 50
ANOTHER = "another implementation [3P]"


def fitness(generation: int) -> str:
    """The setting's name."""
    return f"mean fitness, generation {generation}"


def share(allele: str, generation: int) -> str:
    """The setting's name."""
    return f"{allele} alleles, %, generation {generation}"


def measure(replicate: int) -> Measures:
    """One population in every world."""
    values: dict[tuple[str, str], float] = {}
    for name, world in WORLDS.items():
        rows = world.evolve(Address.of("benchmark", "baldwin", name, replicate), GENERATIONS)
        for generation in (0, 20, 50):
            row = rows.iloc[generation]
            values[name, fitness(generation)] = float(row["fitness"])
            for allele in ("wrong", "undecided"):
                values[name, share(allele, generation)] = 100 * float(row[allele])
    return values


CHECK = Check(
    name="baldwin",
    title="The Baldwin effect",
    unit="mean over populations",
    notes=(
        "Hinton and Nowlan's model: 20 loci, 1,000 individuals, up to 1,000 guesses in a lifetime, "
        "no mutation; fitness is 1 without the target and 20 with it innate. Generation 0 has a "
        "closed form. The paper's result is that learners find the target and non-learners do "
        "not. It does not show that all that is learned becomes innate: undecided alleles stay, "
        "and Fontanari and Santos 2017 read the model as selection of the ability to learn. The "
        "share of undecided alleles in the paper's figure could not be read and is not compared."
    ),
    figures=(
        Figure(
            LEARNERS, fitness(0), value=round(WORLDS[LEARNERS].first_fitness(), 3), source="[D]"
        ),
        Figure(LEARNERS, fitness(20), "", 16.9, None, ANOTHER, gate=("at least", 15.0)),
        Figure(LEARNERS, share("wrong", 20), "", 0.6, None, ANOTHER, gate=("at most", 1.0)),
        Figure(LEARNERS, share("undecided", 20)),
        Figure(LEARNERS, fitness(50)),
        Figure(LEARNERS, share("undecided", 50), "", 23.5, None, ANOTHER),
        Figure(NOBODY, fitness(50), "", 1.0, None, "[D]", gate=("at most", 1.0)),
        *(
            Figure(name, fitness(generation))
            for name in WORLDS
            if name not in (LEARNERS, NOBODY)
            for generation in (20, 50)
        ),
    ),
    measure=measure,
    replicates=200,
    digits=3,
)

if __name__ == "__main__":
    run(CHECK)
