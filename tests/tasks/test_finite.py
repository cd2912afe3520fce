"""Finite sets of tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.harmonics import Harmonics
from metabench.tasks.sinusoid import Sinusoid

SHAPE, ADDRESS = Shape(shot=10, query=20), Address.of("tests", "finite")


def amplitudes(task: Sinusoid, count: int = 300) -> set[float]:
    e = sample(task, Shape(shot=2, query=1), ADDRESS, range(count))
    x, y = e.support.x.double().squeeze(-1), e.support.y.double().squeeze(-1)
    theta = torch.linalg.solve(torch.stack([x.sin(), x.cos()], -1), y)
    return {round(float(a), 2) for a in theta.norm(dim=-1)}


def test_episodes_are_of_so_many_tasks_and_a_meta_seed_has_its_own() -> None:
    few = Sinusoid(tasks=8)
    sets = [amplitudes(few.at_seed(seed)) for seed in (0, 0, 1)]
    assert 7 <= len(sets[0]) <= 12  # eight, some of them rounded either way
    assert sets[0] == sets[1] != sets[2]
    assert len(amplitudes(Sinusoid().at_seed(1))) > 100


def test_the_law_of_a_finite_set_is_the_whole_distribution() -> None:
    assert Sinusoid(tasks=8).at_seed(3).law().tasks is None
    assert sample(Harmonics(tasks=4), SHAPE, ADDRESS, range(3)).tasks == 3


def test_the_bayes_predictor_of_a_finite_set_finds_the_task_among_its_own() -> None:
    task = Harmonics(tasks=16).at_seed(2)
    e = sample(task, SHAPE, ADDRESS, range(200))
    risk = {
        name: float((predicted - e.query_y).square().mean())
        for name, predicted in (("finite", task.oracle(e)), ("law", task.law().oracle(e)))
        if predicted is not None
    }
    assert risk["finite"] < 0.002 < risk["law"]
    # On tasks of the law it is the memoriser: far from the truth.
    new = sample(task.law(), SHAPE, ADDRESS, range(200))
    known = task.oracle(new)
    assert known is not None
    assert float((known - new.query_y).square().mean()) > 0.3


def test_many_tasks_of_a_law_have_the_bayes_predictor_of_the_law() -> None:
    """Known answer: the posterior mean over a large sample approaches the closed form."""
    shape = Shape(shot=2, query=20)
    task = Harmonics(noise=0.5, tasks=20_000)
    e = sample(task.law(), shape, ADDRESS, range(30))
    finite, law = task.oracle(e), task.law().oracle(e)
    assert finite is not None
    assert law is not None
    assert float((finite - law).square().mean()) < 0.015


def test_without_support_the_best_prediction_is_the_mean_function() -> None:
    e = sample(Sinusoid(), SHAPE, ADDRESS, range(5))
    mean = Sinusoid().prior_mean(e).squeeze(-1).double()
    x = e.query.x.double().squeeze(-1)
    # E[A] = 2.55, E[sin(x + p)] over p in [0, pi] is 2 cos(x) / pi.
    assert torch.allclose(mean, 2.55 * 2 / torch.pi * torch.cos(x), atol=0.12)
    few = Sinusoid(tasks=1).at_seed(0)
    only = sample(few, SHAPE, ADDRESS, range(5))
    assert torch.allclose(few.prior_mean(only), only.query_y, atol=1e-5)


def test_a_shift_keeps_the_tasks_as_far_as_it_can() -> None:
    near, far = Harmonics(tasks=8), Harmonics(tasks=8).shifted("frequency", 2.0)
    assert isinstance(far, Harmonics)
    assert np.array_equal(np.asarray(near.task_set()["weights"]), far.task_set()["weights"])
    with pytest.raises(ValueError, match="finite"):
        Harmonics().task_set()
