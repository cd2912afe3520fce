"""The interval that may be looked at after every episode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.statistics.sequential import BettingInterval


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_it_only_shrinks_and_batches_do_not_matter(scores: list[float]) -> None:
    whole, single = BettingInterval(), BettingInterval()
    whole.update(np.array(scores))
    before = single.bounds
    for score in scores:
        single.update(np.array([score]))
        after = single.bounds
        assert before[0] <= after[0] <= after[1] <= before[1]
        before = after
    assert whole.bounds == before


def test_an_easy_cell_needs_fewer_episodes_than_a_hard_one() -> None:
    rng = np.random.default_rng(0)

    def needed(chance: float) -> int:
        interval = BettingInterval()
        while np.diff(interval.bounds)[0] > 0.1:
            interval.update((rng.random(25) < chance).astype(float))
        return interval.count

    assert needed(0.99) < needed(0.5) / 2


def test_it_is_not_much_wider_than_an_interval_for_one_look() -> None:
    scores = (np.random.default_rng(1).random(600) < 0.7).astype(float)
    interval = BettingInterval()
    interval.update(scores)
    low, high = interval.bounds
    assert high - low < 2.5 * 2 * 1.96 * scores.std() / np.sqrt(600)


def test_scores_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        BettingInterval().update(np.array([1.5]))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        BettingInterval().update(np.array([np.nan]))
    assert BettingInterval().bounds == (0.0, 1.0)
