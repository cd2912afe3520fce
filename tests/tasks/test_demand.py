"""Demand under regimes: the law, and the oracle against a sum over all paths."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metabench.episodes import Support
from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.demand import Demand

ADDRESS = Address.of("tests", "demand")
SHAPE = Shape(shot=10, query=5)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.sampled_from([0.3, 0.7, 0.98]), st.sampled_from([2, 3]))
def test_the_oracle_is_the_posterior_over_all_paths_of_regimes(
    days: int, stay: float, regimes: int
) -> None:
    a, b = (0.5, 0.0, -0.5)[:regimes], (0.5, 1.5, 2.0)[:regimes]
    task = Demand(stay=stay, intercepts=a, elasticities=b)
    e = sample(task, Shape(shot=days, query=1), ADDRESS, range(5))
    away = (1 - stay) / (regimes - 1)
    for i in range(5):
        price, y = e.support.x[i, :, 0].double().numpy(), e.support.y[i, :, 0].double().numpy()
        weight = np.zeros(regimes)
        for path in product(range(regimes), repeat=days + 1):
            steps = [stay if s == t else away for s, t in pairwise(path)]
            mean = np.array([a[z] - b[z] * p for z, p in zip(path[1:], price, strict=True)])
            error = ((y - mean) / task.noise) ** 2
            weight[path[0]] += np.prod(steps) * np.exp(-0.5 * error.sum())
        weight /= weight.sum()
        query = float(e.query.x[i, 0, 0])
        expected = sum(w * (c - d * query) for w, c, d in zip(weight, a, b, strict=True))
        assert float(task.oracle(e)[i, 0, 0]) == pytest.approx(expected, abs=1e-5)


def test_the_oracle_takes_items_in_any_order_and_days_that_are_missing() -> None:
    task = Demand(stay=0.8)
    e = sample(task, SHAPE, ADDRESS, range(20))
    s = e.support
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    shuffled = Support(s.x[:, order], s.y[:, order], s.mask[:, order], s.way)
    assert torch.allclose(task.oracle(replace(e, support=shuffled)), task.oracle(e), atol=1e-6)
    mask = s.mask.clone()
    mask[:, 3] = False
    hole = replace(s, mask=mask)
    loud = replace(hole, x=s.x + 50 * ~mask[..., None], y=s.y + 50 * ~mask[..., None])
    with_hole = task.oracle(replace(e, support=hole))
    assert torch.equal(with_hole, task.oracle(replace(e, support=loud)))
    assert not torch.allclose(with_hole, task.oracle(e), atol=1e-4)


def test_without_support_the_oracle_is_the_prior_mean() -> None:
    e = sample(Demand(), SHAPE, ADDRESS, range(5))
    nothing = replace(e, support=replace(e.support, mask=torch.zeros_like(e.support.mask)))
    assert torch.allclose(Demand().oracle(nothing), Demand().prior_mean(e))


def test_the_oracle_of_the_law_beats_that_of_another() -> None:
    task = Demand(stay=0.7)
    e = sample(task, SHAPE, ADDRESS, range(4000))

    def risk(output: torch.Tensor) -> float:
        return float((output - e.query_y).square().mean())

    assert risk(task.oracle(e)) < risk(Demand(stay=0.98).oracle(e))
    assert risk(task.oracle(e)) < risk(Demand(stay=0.5).oracle(e))
    assert risk(Demand(stay=0.5).oracle(e)) == pytest.approx(risk(task.prior_mean(e)))


def test_days_are_regimes_that_last_and_targets_are_todays_curve() -> None:
    task = Demand(noise=1e-6, stay=0.9)
    e = sample(task, SHAPE, ADDRESS, range(2000))
    price, y = e.support.x[..., 0], e.support.y[..., 0]
    curves = torch.stack([0.5 - 0.5 * price, 0.0 - 1.5 * price], dim=-1)
    regime = (curves - y[..., None]).abs().argmin(-1)
    assert float((regime[:, 1:] == regime[:, :-1]).double().mean()) == pytest.approx(0.9, abs=0.01)
    assert torch.allclose(e.support.x[0, :, 1], torch.arange(1, 11) / 10)
    assert not e.query.x[..., 1].any()
    today = (e.query_y[:, 0, 0] - (0.5 - 0.5 * e.query.x[:, 0, 0])).abs() < 1e-5
    assert float(((regime[:, 0] == 0) == today).double().mean()) == pytest.approx(0.9, abs=0.02)


def test_a_larger_shot_adds_older_days() -> None:
    small, large = (sample(Demand(), Shape(shot=k, query=2), ADDRESS, range(70)) for k in (3, 10))
    assert torch.equal(small.support.y, large.support.y[:, :3])
    assert torch.equal(small.query_y, large.query_y)


def test_a_drawn_shot_masks_items_as_zeros() -> None:
    e = sample(Demand(), Shape(shot=(2, 6), query=1), ADDRESS, range(64))
    assert not e.support.x[~e.support.mask].any()
    assert not e.support.y[~e.support.mask].any()


def test_axes_change_what_they_name() -> None:
    assert Demand().shifted("stay", 0.7).stay == 0.7
    assert Demand().shifted("elasticity", 4.0).elasticities == (0.5, 4.0)
    with pytest.raises(MetabenchError, match="axis"):
        Demand().shifted("phase", 1.0)


def test_regimes_need_both_parameters() -> None:
    with pytest.raises(ValidationError, match="as many"):
        Demand(intercepts=(0.0, 1.0, 2.0))
