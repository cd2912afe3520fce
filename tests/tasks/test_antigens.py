"""Bit strings that stray from prototypes: the law, and the oracle against an enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.antigens import Antigens

ADDRESS = Address.of("tests", "antigens")


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([0.05, 0.3, 0.5]), st.sampled_from([0.0, 0.2]), st.integers(1, 3))
def test_the_oracle_is_bayes_rule_over_all_prototypes(
    stray: float, escape: float, shot: int
) -> None:
    task = Antigens(length=3, conserved=2, start=2, stray=stray, variable=0.35, escape=escape)
    e = sample(task, Shape(way=2, shot=(1, shot), query=2), ADDRESS, range(3))
    # Conserved sites go round the end: the third and the first.
    sites = np.array([stray, 0.35, stray])
    flips = sites + escape - 2 * sites * escape
    prototypes = np.array(list(product((-1.0, 1.0), repeat=3)))

    def likelihood(x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of one string under every prototype."""
        return np.prod(np.where(prototypes == x, 1 - p, p), axis=1)

    found = torch.softmax(task.oracle(e).double(), dim=-1)
    for i in range(3):
        items = [
            e.support.x[i][(e.support.y[i] == c) & e.support.mask[i]].double().numpy()
            for c in range(2)
        ]
        posterior = [np.prod([likelihood(x, sites) for x in own], axis=0) for own in items]
        for q in range(4):
            at_query = likelihood(e.query.x[i, q].double().numpy(), flips)
            each = np.array([(w / w.sum() * at_query).sum() for w in posterior])
            assert found[i, q].numpy() == pytest.approx(each / each.sum(), abs=1e-5)


def test_bits_flip_as_often_as_they_say_and_escape_is_for_queries() -> None:
    task = Antigens(length=6, conserved=3, stray=0.1, variable=0.3, escape=0.2)
    e = sample(task, Shape(way=4, shot=50, query=50), ADDRESS, range(20))
    sums = torch.stack([(e.support.x * (e.support.y == c)[..., None]).sum(1) for c in range(4)], 1)

    def strayed(x: torch.Tensor, y: torch.Tensor) -> list[float]:
        own = sums.sign().gather(1, y[..., None].expand_as(x))
        return (x != own).float().mean((0, 1)).tolist()  # type: ignore[no-any-return]

    assert strayed(e.support.x, e.support.y) == pytest.approx([0.1] * 3 + [0.3] * 3, abs=0.02)
    assert strayed(e.query.x, e.query_y) == pytest.approx([0.26] * 3 + [0.38] * 3, abs=0.02)


def test_who_knows_which_sites_are_conserved_recognises_what_the_nearest_string_does_not() -> None:
    shape = Shape(way=8, shot=1, query=2)
    learner = NearestNeighbour()

    def accuracy(task: Antigens, knows: Antigens | None) -> float:
        e = sample(task, shape, ADDRESS, range(400))
        output = (
            learner.predict(learner.adapt(e.support), e.query).output
            if knows is None
            else knows.oracle(e)
        )
        return float((output.argmax(-1) == e.query_y).float().mean())

    home, moved = Antigens(), Antigens(start=16)
    assert accuracy(home, home) > accuracy(home, None) + 0.2
    assert accuracy(moved, moved) > 0.7
    assert accuracy(moved, home) < accuracy(moved, None) - 0.1, "narrow knowledge harms elsewhere"
    blind = Antigens(stray=0.5, variable=0.5)
    assert accuracy(blind, blind) < 0.2
