"""Hinton and Nowlan's world: its closed forms, its mechanisms, and the paper's result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metabench.domains.baldwin import RIGHT, UNDECIDED, WRONG, Baldwin, Genomes
from metabench.rng import Address

ADDRESS = Address.of("tests", "baldwin")


def genomes(*rows: str) -> Genomes:
    alleles = {"0": WRONG, "1": RIGHT, "?": UNDECIDED}
    return np.array([[alleles[a] for a in row] for row in rows], dtype=np.int8)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_whoever_has_a_wrong_allele_finds_nothing_and_who_is_born_right_has_all() -> None:
    fitness = Baldwin(loci=4).live(genomes("0???", "1110", "1111"), generator())
    assert fitness.tolist() == [1.0, 1.0, 20.0]


def test_guessing_literally_gives_the_fitness_that_is_drawn_from_the_geometric_law() -> None:
    """19/1000 of the benefit a guess; three open loci are right in one guess of eight."""
    world = Baldwin(loci=3, guesses=10)
    drawn = world.live(np.full((100_000, 3), UNDECIDED, dtype=np.int8), generator())
    hit = (generator(1).random((100_000, 10, 3)) < 0.5).all(axis=2)
    used = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 10)
    assert drawn.mean() == pytest.approx((1 + 19 * (10 - used) / 10).mean(), abs=0.1)


def test_who_cannot_learn_must_be_born_right() -> None:
    fitness = Baldwin(loci=3, guesses=0).live(genomes("111", "11?", "110"), generator())
    assert fitness.tolist() == [20.0, 1.0, 1.0]


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 8), st.sampled_from([0, 5, 100]), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_generation_0_has_the_fitness_of_the_closed_form(
    loci: int, guesses: int, undecided: float
) -> None:
    world = Baldwin(loci=loci, guesses=guesses, undecided=undecided, individuals=40_000)
    fitness = world.live(world.first(ADDRESS), ADDRESS.generator("guesses"))
    assert fitness.mean() == pytest.approx(world.first_fitness(), abs=0.2)


def test_generation_0_of_the_papers_world_has_a_fitness_of_1_006() -> None:
    assert Baldwin().first_fitness() == pytest.approx(1.00603, abs=1e-5)


def test_learners_find_the_target_and_others_do_not() -> None:
    runs = [Baldwin().evolve(ADDRESS.child(i), 20).iloc[-1] for i in range(10)]
    assert np.mean([r["fitness"] for r in runs]) > 15
    assert np.median([r["wrong"] for r in runs]) < 0.01
    alone = Baldwin(guesses=0).evolve(ADDRESS, 20)
    assert (alone["fitness"] == 1.0).all()


def test_undecided_alleles_do_not_go_away() -> None:
    end = Baldwin().evolve(ADDRESS, 50).iloc[-1]
    assert end["solved"] > 0.99
    assert end["undecided"] > 0.1


def test_shares_of_alleles_sum_to_one_and_start_as_declared() -> None:
    rows = Baldwin(individuals=5000).evolve(ADDRESS, 3)
    assert np.allclose(rows[["right", "wrong", "undecided"]].sum(axis=1), 1)
    assert rows.iloc[0]["undecided"] == pytest.approx(0.5, abs=0.01)
    assert rows.iloc[0]["wrong"] == pytest.approx(0.25, abs=0.01)


def test_children_keep_a_left_and_a_right_part_of_two_parents() -> None:
    world = Baldwin(loci=6, individuals=2)
    parents = np.array([[RIGHT] * 6, [WRONG] * 6], dtype=np.int8)
    for seed in range(20):
        children = world.breed(parents, np.ones(2), generator(seed))
        assert (np.abs(np.diff(children, axis=1)).sum(axis=1) <= 1).all()


def test_parents_are_drawn_in_proportion_to_fitness() -> None:
    world = Baldwin(loci=2, individuals=20_000)
    parents = np.zeros((20_000, 2), dtype=np.int8)
    parents[:2000] = RIGHT
    fitness = np.where(np.arange(20_000) < 2000, 9.0, 1.0)
    assert (world.breed(parents, fitness, generator())).mean() == pytest.approx(0.5, abs=0.01)


def test_a_target_that_moves_makes_right_alleles_wrong_at_so_many_loci() -> None:
    world = Baldwin(loci=6, flip_loci=2)
    moved = world.move_target(genomes("111111", "000000", "??????"), generator())
    assert [(row == WRONG).sum() for row in moved] == [2, 4, 0]
    assert (moved[2] == UNDECIDED).all()


def test_a_moving_target_costs_fitness_from_its_first_move_on() -> None:
    fixed, moving = (
        Baldwin(flip_loci=flips, flip_every=15).evolve(ADDRESS, 15)["fitness"] for flips in (0, 3)
    )
    assert fixed[:15].equals(moving[:15])
    assert moving[15] < 0.8 * fixed[15]


def test_a_run_is_a_function_of_its_address() -> None:
    world = Baldwin(individuals=50)
    assert world.evolve(ADDRESS, 5).equals(world.evolve(ADDRESS, 5))
    assert not world.evolve(ADDRESS, 5).equals(world.evolve(ADDRESS.child(1), 5))


def test_impossible_worlds_are_refused() -> None:
    with pytest.raises(ValidationError):
        Baldwin(loci=1)
    with pytest.raises(ValidationError):
        Baldwin(undecided=1.5)
