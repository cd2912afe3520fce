"""Families of functions beside sinusoids and harmonics: sawtooth, steps, polynomials."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial as Fitted

from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.functions import FunctionFamily
from metabench.tasks.polynomial import Polynomial
from metabench.tasks.sawtooth import Sawtooth
from metabench.tasks.steps import Steps

SHAPE, ADDRESS = Shape(shot=10, query=10), Address.of("tests", "waves")
FAMILIES: list[FunctionFamily] = [Sawtooth(), Steps(), Polynomial()]


def risk(predicted: torch.Tensor | None, truth: torch.Tensor) -> float:
    assert predicted is not None
    return float((predicted - truth).square().mean())


def ids(family: FunctionFamily) -> str:
    return type(family).__name__


def fewer(family: FunctionFamily, **change: object) -> FunctionFamily:
    return type(family).model_validate({**family.model_dump(), **change})


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_targets_have_mean_zero_and_the_mean_square_of_sinusoids(family: FunctionFamily) -> None:
    y = sample(family, SHAPE, ADDRESS, range(6000)).query_y
    per_task = y.square().mean((1, 2))
    error = float(per_task.std()) / 6000**0.5
    assert float(per_task.mean()) == pytest.approx(2.06**2, abs=4 * error)
    assert float(y.mean()) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_an_episode_is_the_same_in_any_batch(family: FunctionFamily) -> None:
    together = sample(family, SHAPE, ADDRESS, range(60, 70))
    for row, i in enumerate(range(60, 70)):
        alone = sample(family, SHAPE, ADDRESS, [i])
        assert torch.equal(together.support.y[row], alone.support.y[0])
        assert torch.equal(together.query_y[row], alone.query_y[0])


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_axes_move_and_nothing_else_does(family: FunctionFamily) -> None:
    clean = sample(family, SHAPE, ADDRESS, range(70))
    noisy = sample(family.shifted("noise", 0.5), SHAPE, ADDRESS, range(70))
    assert torch.equal(clean.query_y, noisy.query_y)
    assert float((noisy.support.y - clean.support.y).std()) == pytest.approx(0.5, abs=0.05)
    axis = family.axes[0]
    moved = sample(family.shifted(axis, 6.0), SHAPE, ADDRESS, range(70))
    assert torch.equal(moved.query.x, clean.query.x)
    assert not torch.equal(moved.query_y, clean.query_y)


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_the_bayes_predictor_is_the_posterior_mean_over_many_tasks(family: FunctionFamily) -> None:
    """Known answer: the weighted mean over 40,000 tasks of the law tends to it."""
    shape = Shape(shot=(1, 3), query=12)
    noisy = fewer(family, noise=1.0)
    e = sample(noisy, shape, ADDRESS, range(12))
    many = fewer(noisy, tasks=40_000)
    apart = risk(noisy.oracle(e), many.oracle(e))  # type: ignore[arg-type]
    assert apart < 0.01


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_no_other_linear_shrinkage_of_the_bayes_predictor_is_better(
    family: FunctionFamily, noise: float
) -> None:
    """A posterior mean is uncorrelated with its error, whatever the family."""
    task = fewer(family, noise=noise)
    e = sample(task, SHAPE, ADDRESS, range(1000))
    predicted = task.oracle(e)
    assert predicted is not None
    product = (predicted * (e.query_y - predicted)).mean((1, 2))
    assert abs(float(product.mean())) < 4 * float(product.std()) / 1000**0.5 + 1e-5
    assert risk(predicted, e.query_y) < risk(0.8 * predicted, e.query_y)


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_padding_changes_no_prediction_of_the_bayes_predictor(family: FunctionFamily) -> None:
    task = fewer(family, noise=0.3)
    few = sample(task, Shape(shot=4, query=10), ADDRESS, range(30))
    padded = sample(task, Shape(shot=(4, 9), query=10), ADDRESS, range(64))
    short = [i for i in range(30) if int(padded.support.mask[i].sum()) == 4]
    assert short
    a, b = task.oracle(few), task.oracle(padded)
    assert a is not None
    assert b is not None
    assert torch.allclose(a[short], b[short], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_without_support_the_best_prediction_is_nothing(family: FunctionFamily) -> None:
    e = sample(family, SHAPE, ADDRESS, range(20))
    mean = family.prior_mean(e)
    assert mean is not None
    assert float(mean.abs().max()) < 0.2
    one = fewer(family, tasks=1).at_seed(3)
    only = sample(one, SHAPE, ADDRESS, range(5))
    assert torch.allclose(one.prior_mean(only), only.query_y, atol=1e-4)  # type: ignore[arg-type]


def test_a_sawtooth_climbs_straight_and_falls_at_once() -> None:
    x = np.linspace(-5, 5, 4001)[None]
    y = Sawtooth().evaluate({"height": np.ones(1), "phase": np.array([0.3])}, x)[0]
    steps = np.diff(y)
    slope = 2.06 * 3**0.5 * 2 / (2 * np.pi) * (x[0, 1] - x[0, 0])
    falls = steps < 0
    assert np.allclose(steps[~falls], slope)
    assert np.allclose(steps[falls], slope - 2.06 * 3**0.5 * 2)
    assert 1 <= falls.sum() <= 2


def test_steps_have_as_many_jumps_as_they_say() -> None:
    x = np.linspace(-5, 5, 2001)
    for jumps in (1.0, 3.0):
        task = Steps(jumps=jumps, tasks=2000)
        y = task.evaluate(task.task_set(), np.tile(x, (2000, 1)))
        found = (np.diff(y, axis=1) != 0).sum(axis=1)
        assert found.mean() == pytest.approx(jumps, abs=4 * (jumps / 2000) ** 0.5)
        assert found.var() == pytest.approx(jumps, rel=0.2)


def test_between_two_equal_clean_items_of_steps_the_mean_is_known() -> None:
    """Without noise, equal targets are one piece; unequal ones share the gap by their distance."""
    task = Steps(jumps=2.0)
    e = sample(task, Shape(shot=2, query=1), ADDRESS, range(400))
    predicted = task.oracle(e)
    assert predicted is not None
    x, y = e.support.x[..., 0].sort(1).values, e.support.y[..., 0]
    order = e.support.x[..., 0].argsort(1)
    y = y.gather(1, order)
    q = e.query.x[:, 0, 0]
    same = (y[:, 0] == y[:, 1]) & (q > x[:, 0]) & (q < x[:, 1])
    assert int(same.sum()) > 10
    assert torch.allclose(predicted[same, 0, 0], y[same, 0], atol=5e-3)
    other = (y[:, 0] != y[:, 1]) & (q > x[:, 0]) & (q < x[:, 1])
    a, b = 0.2 * (q - x[:, 0]), 0.2 * (x[:, 1] - q)
    some = 1 - torch.exp(-(a + b))
    known = (
        torch.exp(-a) * (1 - torch.exp(-b)) * y[:, 0]
        + torch.exp(-b) * (1 - torch.exp(-a)) * y[:, 1]
    ) / some
    assert torch.allclose(predicted[other, 0, 0], known[other], atol=5e-3)


def test_a_polynomial_is_of_its_degree_and_known_from_as_many_points() -> None:
    task = Polynomial(degree=3)
    e = sample(task, Shape(shot=4, query=6), ADDRESS, range(20))
    for i in range(20):
        x, y = e.support.x[i, :, 0].double().numpy(), e.support.y[i, :, 0].double().numpy()
        fit = Fitted.fit(x, y, 3)(e.query.x[i, :, 0].double().numpy())
        gap = np.abs(np.diff(np.sort(x))).min()
        if gap > 0.3:
            np.testing.assert_allclose(fit, e.query_y[i, :, 0].numpy(), atol=1e-2)
    wide = sample(Polynomial(degree=3), Shape(shot=12, query=6), ADDRESS, range(50))
    assert risk(task.oracle(wide), wide.query_y) < 1e-6
