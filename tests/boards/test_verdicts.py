"""What a panel says in words."""

from __future__ import annotations

from metabench.boards import build_board
from metabench.boards.verdicts import verdict
from tests.factories import BASE, BAYES, Learner, constant, make_results

GOOD, TWIN = Learner("good", constant(0.8)), Learner("twin", constant(0.8))
BAD = Learner("bad", constant(-1.0))
BROKEN = Learner("broken", status="diverged", error="inf")


def said(*learners: Learner, seeds: int = 5) -> str:
    (panel,) = build_board(make_results([BASE, BAYES, *learners], seeds=seeds)).panels
    return " ".join(verdict(panel))


def test_a_leader_and_what_pays_and_what_harms() -> None:
    text = said(GOOD, BAD)
    assert text.startswith("good is ahead of all others (5 seeds).")
    assert "meta-learning pays for good; does harm for bad." in text


def test_those_that_cannot_be_told_apart_are_named_together() -> None:
    text = said(GOOD, TWIN, BAD)
    assert "The best is among good and twin: 5 seeds cannot tell which." in text or (
        "The best is among twin and good: 5 seeds cannot tell which." in text
    )
    assert "ridge and bad are behind." in text


def test_one_seed_says_nothing_and_a_failure_has_no_rank() -> None:
    text = said(GOOD, seeds=1)
    assert text.startswith("One seed tells nobody apart.")
    assert text.endswith("meta-learning is undecided for good.")
    assert said(GOOD, BROKEN).endswith("Without a rank: broken (diverged).")


def test_baselines_alone_are_nothing_to_talk_about() -> None:
    assert said() == ""


def test_a_crowd_is_counted() -> None:
    crowd = [Learner(f"n{i}", constant(0.5)) for i in range(8)]
    assert "pays for 8 learners" in said(*crowd)
