"""Immune recognition of bit strings: gene libraries that evolve, antibodies that mature.

python benchmarks/reproduce/immune.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from common import Figure
from exact import Check, Measures, run

from metabench.domains.immune import (
    Codes,
    Evolution,
    Immune,
    complementary_library,
    random_library,
    random_match,
)
from metabench.rng import Address

LAW = Immune()
RANDOM, COMPLEMENTS, EVOLVED = "random library", "complements of the prototypes", "evolved library"
LIFETIME, ESCAPE = 32, 0.01
LEARNED = f"{EVOLVED}, lifetimes of {LIFETIME} mutations"
SAME, NEW = "its world", "new prototypes"
STRAYS = (0.1, 0.2, 0.3)
MATURED = f"{LIFETIME} mutations"
MATURED_ESCAPE = f"{LIFETIME} mutations, the antigen escapes"
UNLEARNED_ESCAPE = "no mutations, the antigen escapes"
ANTIGENS = 2000


def stray(p: float) -> str:
    """The setting's name."""
    return f"{SAME}, antigens stray by {p:g}"


def germline(law: Immune, population: Codes, world: Codes) -> float:
    """Mean over the libraries of the exact expectation."""
    return float(np.mean([law.expected_match(library, world) for library in population]))


def measure(replicate: int) -> Measures:
    """One world, the libraries evolved in it, and another world."""
    address = Address.of("benchmark", "immune", replicate)
    world, other = (LAW.world(address.child(which)) for which in (SAME, NEW))
    generator = address.generator("libraries")
    known = complementary_library(world)[None]
    populations = {
        RANDOM: np.stack([random_library(generator) for _ in range(20)]),
        COMPLEMENTS: known,
        EVOLVED: LAW.evolve(world, address.child("evolve"), Evolution()),
    }
    learning = replace(LAW, mutations=LIFETIME)
    populations[LEARNED] = learning.evolve(world, address.child("evolve"), Evolution())
    values = {
        (name, where): germline(LAW, population[:20], there)
        for name, population in populations.items()
        for where, there in ((SAME, world), (NEW, other))
    }
    for p in STRAYS:
        for name in (COMPLEMENTS, EVOLVED):
            law = replace(LAW, stray=p)
            values[name, stray(p)] = germline(law, populations[name][:20], world)
    antigens = LAW.antigens(world, generator, ANTIGENS)
    for setting, law in (
        (MATURED, learning),
        (MATURED_ESCAPE, replace(learning, escape=ESCAPE)),
    ):
        lived = law.live(populations[RANDOM][:1], antigens, generator)
        values[RANDOM, setting] = float(lived.mean())
    still = replace(learning, escape=ESCAPE)
    first = germline(LAW, populations[RANDOM][:1], world)
    values[RANDOM, UNLEARNED_ESCAPE] = still.unlearned(first)
    return values


BASE = random_match()
LEARNING = replace(LAW, mutations=LIFETIME)
ESCAPING = replace(LEARNING, escape=ESCAPE)

CHECK = Check(
    name="immune",
    title="Immune recognition",
    unit="bits bound by the best antibody, of 32",
    notes=(
        "Four libraries of eight 8-bit segments; worlds of 8 prototypes, antigens with every bit "
        "flipped with p = 0.05, escape at 0.01 a bit and exposure. Evolution of 100 libraries over "
        "200 generations; figures without mutations are germline, and exact for the library and "
        "the world. A library evolved for one world is worth exactly a random one in another: "
        "what it learned is its world. Lifetimes that learn hide differences between germlines "
        "from selection, so that evolution is slower. Worlds vary over replicates."
    ),
    figures=(
        Figure(RANDOM, SAME, "", round(BASE, 2), None, "[D]"),
        Figure(RANDOM, MATURED, "", round(LEARNING.matured(BASE), 2), None, "[D]"),
        Figure(RANDOM, MATURED_ESCAPE, "", round(ESCAPING.matured(BASE), 2), None, "[D]"),
        Figure(RANDOM, UNLEARNED_ESCAPE, "", round(ESCAPING.unlearned(BASE), 2), None, "[D]"),
        *(
            Figure(name, where)
            for where in (SAME, *map(stray, STRAYS))
            for name in (COMPLEMENTS, EVOLVED)
        ),
        *(
            Figure(name, NEW, "", round(BASE, 2), None, "[D]")
            for name in (COMPLEMENTS, EVOLVED, LEARNED)
        ),
        Figure(LEARNED, SAME),
    ),
    measure=measure,
    replicates=30,
)

if __name__ == "__main__":
    run(CHECK)
