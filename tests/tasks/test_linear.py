"""Linear regression in context: both Bayes predictors against brute force, and what a set is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.episodes import Episodes
from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.linear import Linear

SHAPE = Shape(shot=16, query=4)
ADDRESS = Address.of("tests", "linear")


def first(episodes: Episodes, items: int) -> Episodes:
    """With the first items of the support alone."""
    mask = episodes.support.mask.clone()
    mask[:, items:] = False
    return replace(episodes, support=replace(episodes.support, mask=mask))


def risk(task: Linear, episodes: Episodes) -> float:
    return float((task.oracle(episodes) - episodes.query_y).square().mean())


@pytest.mark.parametrize("shot", [1, 5, 16])
def test_ridge_is_the_conditional_mean_of_the_joint_normal_of_targets(shot: int) -> None:
    task = Linear()
    e = sample(task, Shape(shot=shot, query=3), ADDRESS, range(20))
    x, y, q = e.support.x.double(), e.support.y.double(), e.query.x.double()
    covariance = x @ x.mT + 0.25 * torch.eye(shot)
    expected = q @ x.mT @ torch.linalg.solve(covariance, y)
    assert torch.allclose(task.oracle(e).double(), expected, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(0, 16), st.integers(0, 3), st.sampled_from([0.1, 0.5, 2.0]))
def test_the_discrete_oracle_weighs_every_task_by_its_likelihood(
    tasks: int, items: int, seed: int, noise: float
) -> None:
    task = Linear(tasks=tasks, noise=noise).at_seed(seed)
    e = first(sample(task, SHAPE, ADDRESS, range(5)), items)
    weights = np.asarray(task.task_set()["weights"])
    for i in range(5):
        x, y = e.support.x[i, :items].double().numpy(), e.support.y[i, :items, 0].double().numpy()
        error = ((y - weights @ x.T) ** 2).sum(axis=1)
        likelihood = np.exp(-(error - error.min()) / (2 * noise**2))
        mean = likelihood @ weights / likelihood.sum()
        assert np.allclose(task.oracle(e)[i, :, 0], e.query.x[i].numpy() @ mean, atol=1e-4)


def test_without_support_both_oracles_are_the_mean_of_their_tasks() -> None:
    for task in (Linear(), Linear(tasks=5)):
        e = first(sample(task, SHAPE, ADDRESS, range(20)), 0)
        assert torch.allclose(task.oracle(e), task.prior_mean(e), atol=1e-6)


def test_what_the_mask_hides_has_no_effect() -> None:
    for task in (Linear(), Linear(tasks=32)):
        e = first(sample(task, SHAPE, ADDRESS, range(10)), 7)
        loud = replace(e.support, x=e.support.x + 9 * ~e.support.mask[..., None])
        assert torch.equal(task.oracle(e), task.oracle(replace(e, support=loud)))


def test_each_oracle_is_the_best_on_its_own_prior_and_the_memory_fails_on_new_tasks() -> None:
    few = Linear(tasks=8)
    seen, new = (sample(task, SHAPE, ADDRESS, range(500)) for task in (few, few.law()))
    assert risk(few, seen) < 0.2 * risk(few.law(), seen)
    assert risk(few, new) > 10 * risk(few.law(), new)


def test_a_set_is_drawn_from_the_law_once_for_each_meta_seed() -> None:
    task = Linear(tasks=12)
    weights = np.asarray(task.task_set()["weights"])
    assert weights.shape == (12, 8)
    assert np.array_equal(weights, task.model_copy(update={"noise": 0.1}).task_set()["weights"])
    assert not np.isclose(weights, task.at_seed(1).task_set()["weights"]).any()
    assert np.array_equal(weights, Linear(tasks=50).task_set()["weights"][:12])
    assert task.law() == Linear()
    assert Linear().at_seed(3) == Linear()


def test_every_episode_of_a_set_is_one_of_its_tasks() -> None:
    task = Linear(tasks=12, noise=0.0)
    e = sample(task, SHAPE, ADDRESS, range(200))
    fitted = torch.linalg.lstsq(e.support.x.double(), e.support.y.double()).solution[..., 0]
    distance = torch.cdist(fitted, torch.from_numpy(np.asarray(task.task_set()["weights"])))
    assert float(distance.amin(1).max()) < 1e-4
    assert len(distance.argmin(1).unique()) == 12


def test_inputs_and_targets_have_the_papers_variances() -> None:
    e = sample(Linear(), SHAPE, ADDRESS, range(4000))
    assert float(e.support.x.var()) == pytest.approx(1, rel=0.02)
    assert float(e.query_y.var()) == pytest.approx(8, rel=0.05)
    assert float(e.support.y.var()) == pytest.approx(8.25, rel=0.05)
    assert e.query.x.shape == (4000, 4, 8)


def test_a_larger_shot_leaves_the_first_items_and_the_queries_as_they_were() -> None:
    small, large = (
        sample(Linear(), Shape(shot=shot, query=4), ADDRESS, range(70)) for shot in (4, 16)
    )
    assert torch.equal(small.support.x, large.support.x[:, :4])
    assert torch.equal(small.support.y, large.support.y[:, :4])
    assert torch.equal(small.query_y, large.query_y)


def test_a_drawn_shot_masks_items_as_zeros() -> None:
    e = sample(Linear(), Shape(shot=(2, 6), query=1), ADDRESS, range(64))
    assert set(e.support.mask.sum(1).tolist()) == {2, 3, 4, 5, 6}
    assert not e.support.x[~e.support.mask].any()
    assert not e.support.y[~e.support.mask].any()


def test_shifted_inputs_are_the_same_draws_at_another_scale() -> None:
    plain, wide = (sample(t, SHAPE, ADDRESS, range(5)) for t in (Linear(), Linear(scale=2.5)))
    assert Linear().shifted("scale", 2.5) == Linear(scale=2.5)
    assert torch.allclose(wide.support.x, 2.5 * plain.support.x)
    with pytest.raises(MetabenchError, match="axis"):
        Linear().shifted("phase", 1.0)


def test_memory_on_new_tasks_has_the_excess_of_a_plain_loop() -> None:
    """M = 8 after 0 to 15 items: the loop gives 1.246 +- 0.010 over 600 sets of its own."""
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        tasks, truth = rng.normal(size=(8, 8)), rng.normal(size=8)
        x = rng.normal(size=(16, 8))
        y = x @ truth + 0.5 * rng.normal(size=16)
        for items in range(16):
            error = ((y[:items] - tasks @ x[:items].T) ** 2).sum(axis=1)
            weight = np.exp(-(error - error.min()) / 0.5)
            found.append(((weight @ tasks / weight.sum() - truth) ** 2).mean())
    ours = []
    for seed in range(30):
        task = Linear(tasks=8).at_seed(seed)
        e = sample(task.law(), Shape(shot=16, query=8), ADDRESS.child(seed), range(50))
        ours += [risk(task, first(e, items)) / 8 for items in range(16)]
    assert np.mean(ours) == pytest.approx(1.246, abs=0.1)
    assert np.mean(found) == pytest.approx(1.246, abs=0.1)
