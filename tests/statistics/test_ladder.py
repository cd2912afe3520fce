"""An attacker who climbs by feedback gains nothing from the Ladder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.statistics.ladder import Ladder

EPISODES, TRIES = 1_000, 400


def boosting_attack(told: Callable[[np.ndarray], float], rng: np.random.Generator) -> np.ndarray:
    """Answers [n] by a majority vote of those random ones that the board said were above chance.

    Blum and Hardt 2015, section 4: answers are bits, and right ones are unknown to the attacker.
    """
    kept = []
    for _ in range(TRIES):
        answers = rng.integers(0, 2, EPISODES)
        if told(answers) > 0.5:
            kept.append(answers)
    return (np.mean(kept, axis=0) > 0.5).astype(int) if kept else rng.integers(0, 2, EPISODES)


def gains(seed: int) -> tuple[float, float]:
    """What the attack's last answer scores, against a board that tells all and against the Ladder.

    Chance is 0.5 and no answer can be better than chance on episodes yet to come.
    """
    rng = np.random.default_rng(seed)
    right = rng.integers(0, 2, EPISODES)
    ladder = Ladder()

    def score(answers: np.ndarray) -> np.ndarray:
        return (answers == right).astype(float)

    def careful(answers: np.ndarray) -> float:
        nonlocal ladder
        ladder = ladder.submit(score(answers))
        assert ladder.public is not None
        return ladder.public

    naive = boosting_attack(lambda answers: float(score(answers).mean()), rng)
    final = careful(boosting_attack(careful, rng))
    return float(score(naive).mean()), final


def test_climbing_by_feedback_gains_much_on_a_plain_board_and_little_on_the_ladder() -> None:
    plain, careful = np.array([gains(seed) for seed in range(10)]).T
    # Half of 400 guesses are kept, 0.0126 above chance each: a majority is right with
    # probability Phi(200 x 0.0126 / sqrt(200 / 4)) = 0.64.
    assert plain.mean() > 0.60
    # What the best of 400 guesses has by luck is 3 standard errors, 0.047.
    assert careful.mean() < 0.55


def test_an_honest_improvement_is_told() -> None:
    rng = np.random.default_rng(0)
    first = Ladder().submit((rng.random(EPISODES) < 0.6).astype(float))
    better = first.submit((rng.random(EPISODES) < 0.7).astype(float))
    assert first.public is not None
    assert better.public is not None
    assert better.public > first.public
    assert better.submissions == 2


@given(st.integers(0, 1_000), st.integers(1, 20))
def test_the_public_score_never_falls(seed: int, tries: int) -> None:
    rng = np.random.default_rng(seed)
    ladder, heard = Ladder(), []
    for _ in range(tries):
        ladder = ladder.submit(rng.random(30))
        heard.append(ladder.public)
    assert heard == sorted(heard)


def test_the_same_answers_again_change_nothing() -> None:
    scores = np.random.default_rng(0).random(50)
    once = Ladder().submit(scores)
    assert once.submit(scores).public == once.public
    assert once.submit(scores - 1e-9 * (scores > 0.5)).public == once.public


@pytest.mark.parametrize("scores", [[], [1.2], [float("nan")], [0.5, 0.5]])
def test_bad_scores_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="Ladder"):
        Ladder().submit(np.array([0.5])).submit(np.array(scores))
