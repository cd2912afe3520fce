"""Gene libraries and antibodies: every expectation against brute force or simulation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.domains.immune import (
    BITS,
    LENGTH,
    LIBRARIES,
    SEGMENTS,
    Codes,
    Evolution,
    Immune,
    best_antibody,
    complementary_library,
    random_library,
    random_match,
)
from metabench.rng import Address

LAW = Immune()


def library(seed: int = 0) -> Codes:
    return random_library(np.random.default_rng(seed))


def world(seed: int = 0) -> Codes:
    return LAW.world(Address.of("tests", "immune", seed))


def bits(codes: Codes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.unpackbits(codes, axis=-1)


def test_the_best_antibody_is_the_best_of_all_4096() -> None:
    genes, antigen = library(), world()[:1]
    every = [
        np.array([genes[part, s] for part, s in enumerate(choice)], dtype=np.uint8)
        for choice in product(range(SEGMENTS), repeat=LIBRARIES)
    ]
    bound = [(bits(antibody) != bits(antigen[0])).sum() for antibody in every]
    assert (bits(best_antibody(genes, antigen)[0]) != bits(antigen[0])).sum() == max(bound)


def test_a_random_library_binds_four_times_the_largest_of_eight_binomials() -> None:
    draws = np.random.default_rng(0).binomial(BITS, 0.5, (200_000, SEGMENTS)).max(axis=1)
    assert random_match() == pytest.approx(LIBRARIES * draws.mean(), abs=0.02)
    exact = [LAW.expected_match(library(i), world(i)) for i in range(200)]
    assert np.mean(exact) == pytest.approx(random_match(), abs=0.1)


@pytest.mark.parametrize("stray", [0.0, 0.05, 0.3])
def test_the_exact_match_is_the_mean_over_antigens(stray: float) -> None:
    law = Immune(stray=stray)
    antigens = law.antigens(world(), np.random.default_rng(1), 40_000)
    lived = law.live(library()[None], antigens, np.random.default_rng(2))
    assert lived.mean() == pytest.approx(law.expected_match(library(), world()), abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, SEGMENTS), st.floats(0, 0.5))
def test_complements_bind_everything_or_at_least_what_did_not_stray(
    seed: int, prototypes: int, stray: float
) -> None:
    law = Immune(prototypes=prototypes, stray=stray)
    there = law.world(Address.of("tests", seed))
    known = complementary_library(there)
    assert replace(law, stray=0.0).expected_match(known, there) == LENGTH
    assert law.expected_match(known, there) >= LENGTH * (1 - stray) - 1e-9


def test_complements_of_too_many_prototypes_are_refused() -> None:
    with pytest.raises(ValueError, match="9 prototypes"):
        complementary_library(Immune(prototypes=9).world(Address.of("x")))


def test_a_library_for_one_world_is_worth_a_random_one_in_another() -> None:
    pairs = [(complementary_library(world(i)), world(i + 1)) for i in range(300)]
    assert np.mean([LAW.expected_match(*p) for p in pairs]) == pytest.approx(
        random_match(), abs=0.1
    )


@pytest.mark.parametrize(("mutations", "escape"), [(0, 0.0), (16, 0.0), (16, 0.02), (200, 0.05)])
def test_a_lifetime_ends_where_the_recursion_says(mutations: int, escape: float) -> None:
    law = Immune(mutations=mutations, escape=escape)
    antigens = law.antigens(world(), np.random.default_rng(1), 20_000)
    lived = law.live(library()[None], antigens, np.random.default_rng(2))
    start = law.expected_match(library(), world())
    assert lived.mean() == pytest.approx(law.matured(start), abs=0.08)
    wrong = 1 - start / LENGTH
    for _ in range(mutations):
        wrong = (1 - 1 / LENGTH) * (wrong + escape * (1 - 2 * wrong))
    assert law.matured(start) == pytest.approx(LENGTH * (1 - wrong))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, LENGTH), st.integers(0, 300), st.floats(0, 0.5))
def test_learning_never_does_worse_than_staying(
    start: float, mutations: int, escape: float
) -> None:
    law = Immune(mutations=mutations, escape=escape)
    assert 0 <= law.unlearned(start) <= law.matured(start) + 1e-9 <= LENGTH + 1e-6


def test_an_antigen_that_escapes_faster_than_antibodies_mutate_is_bound_by_chance() -> None:
    law = Immune(mutations=1000, escape=0.5)
    assert law.matured(LENGTH) == pytest.approx(LENGTH / 2 + 0.5)


def test_evolution_finds_the_world_and_nothing_else() -> None:
    evolved = LAW.evolve(world(), Address.of("tests"), Evolution())
    here = np.mean([LAW.expected_match(one, world()) for one in evolved[:10]])
    elsewhere = np.mean(
        [LAW.expected_match(one, world(i)) for one in evolved[:3] for i in range(1, 40)]
    )
    ideal = LAW.expected_match(complementary_library(world()), world())
    assert here > random_match() + 0.8 * (ideal - random_match())
    assert elsewhere == pytest.approx(random_match(), abs=0.4)


def test_evolution_is_a_function_of_its_address() -> None:
    evolution = Evolution(population=10, generations=5)
    runs = [LAW.evolve(world(), Address.of("tests", i), evolution) for i in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_without_mutation_or_fitness_children_have_their_parents_segments() -> None:
    generator = np.random.default_rng(0)
    parents = np.stack([library(i) for i in range(30)])
    children = Evolution(population=30, mutation=0.0).breed(parents, np.arange(30.0), generator)
    for part, segment in product(range(LIBRARIES), range(SEGMENTS)):
        assert set(children[:, part, segment]) <= set(parents[:, part, segment])
