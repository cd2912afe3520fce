"""Episodes are a function of their address."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.rng import BLOCK, Address, BlockDraws, Plan, digest, draw

ADDRESS = Address.of("suite", "condition", 3)


def planner(draws: BlockDraws) -> Plan:
    return {
        "a": draws("a").random((draws.size, 3)),
        "b": draws("b").integers(0, 1000, draws.size),
    }


@given(st.lists(st.integers(0, 5 * BLOCK), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_an_episode_is_the_same_in_any_batch_and_order(indices: list[int]) -> None:
    together = draw(planner, ADDRESS, indices)
    for row, i in enumerate(indices):
        alone = draw(planner, ADDRESS, [i])
        assert np.array_equal(together["a"][row], alone["a"][0])
        assert together["b"][row] == alone["b"][0]


def test_an_array_does_not_change_when_another_is_drawn_too() -> None:
    def more(draws: BlockDraws) -> Plan:
        return {"new": draws("new").random(draws.size), **planner(draws)}

    plain, extended = draw(planner, ADDRESS, range(100)), draw(more, ADDRESS, range(100))
    assert np.array_equal(plain["a"], extended["a"])


def test_different_addresses_and_blocks_give_different_numbers() -> None:
    streams = [ADDRESS, ADDRESS.child("x"), Address.of("suite", "condition", 4)]
    values = [s.generator("a", block).random() for s in streams for block in (0, 1)]
    assert len(set(values)) == len(values)


def test_the_first_numbers_of_a_stream_are_frozen() -> None:
    """Golden: if this moves, every published number belongs to other episodes."""
    first = ADDRESS.generator("a", 2).random(2)
    assert first.tolist() == [0.871243721847209, 0.07544207966617267]


def test_parts_are_told_apart_by_where_they_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", "") != digest("a")


@pytest.mark.parametrize("indices", [[], [-1]])
def test_impossible_indices_are_refused(indices: list[int]) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        draw(planner, ADDRESS, indices)


def test_uniforms_of_neighbouring_blocks_are_independent() -> None:
    values = np.array([ADDRESS.generator("u", b).random() for b in range(2000)])
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(2000)
    assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * 2000)
