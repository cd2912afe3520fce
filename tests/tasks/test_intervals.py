"""Tasks that own an interval of the input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from metabench.episodes import Episodes
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.intervals import Intervals

SHAPE, ADDRESS = Shape(shot=5, query=8), Address.of("tests", "intervals")
TASK = Intervals().at_seed(1)


def interval(e: Episodes, x: torch.Tensor) -> torch.Tensor:
    return ((x.double() + 5) / 10 * 64).floor().long()


def risk(predicted: torch.Tensor | None, e: Episodes) -> float:
    assert predicted is not None
    return float((predicted - e.query_y).square().mean())


def test_all_inputs_of_a_task_lie_in_its_interval_and_all_intervals_occur() -> None:
    e = sample(TASK, SHAPE, ADDRESS, range(1500))
    which = interval(e, torch.cat([e.support.x, e.query.x], dim=1)).squeeze(-1)
    # A rounding may put an input on the edge of its interval.
    assert float((which == which.median(1, keepdim=True).values).double().mean()) > 0.9999
    assert set(which.flatten().tolist()) >= set(range(64))


def test_one_function_of_the_input_fits_every_task() -> None:
    """A table of the input, filled from some episodes, answers all the others."""
    e = sample(replace_noise(TASK, 0.0), Shape(shot=1, query=20), ADDRESS, range(3000))
    x, y = e.query.x.flatten().double(), e.query_y.flatten().double()
    bins = ((x + 5) / 10 * 64 * 12).floor().long().clamp(0, 64 * 12 - 1)
    first = torch.arange(len(x)) < len(x) // 2
    count = torch.bincount(bins[first], minlength=64 * 12).clamp_min(1)
    table = torch.bincount(bins[first], y[first], minlength=64 * 12) / count
    error = (table[bins[~first]] - y[~first]).square().mean()
    assert float(error) < 0.02 * float(y.var())


def replace_noise(task: Intervals, noise: float) -> Intervals:
    return task.shifted("noise", noise)


def test_the_share_of_repaired_intervals_is_the_level_and_levels_are_nested() -> None:
    clean = sample(TASK, SHAPE, ADDRESS, range(2000))
    changed = {}
    for share in (0.2, 0.6, 1.0):
        e = sample(TASK.shifted("repaired", share), SHAPE, ADDRESS, range(2000))
        assert torch.equal(e.query.x, clean.query.x)
        assert torch.equal(e.support.x, clean.support.x)
        changed[share] = (e.query_y != clean.query_y).flatten(1).any(1)
        error = (share * (1 - share) / 2000) ** 0.5
        assert float(changed[share].double().mean()) == pytest.approx(share, abs=4 * error + 1e-9)
    assert not (changed[0.2] & ~changed[0.6]).any()


def test_the_oracle_needs_no_support_at_home_and_all_of_it_where_all_is_repaired() -> None:
    home = sample(TASK, SHAPE, ADDRESS, range(300))
    assert risk(TASK.prior_mean(home), home) < 1e-4
    assert risk(TASK.oracle(home), home) < 1e-4
    away = TASK.shifted("repaired", 1.0)
    e = sample(away, SHAPE, ADDRESS, range(300))
    variance = float(e.query_y.var())
    assert risk(TASK.oracle(e), e) > 0.5 * variance, "the memoriser fails"
    assert risk(away.oracle(e), e) < 0.02 * variance
    other = sample(away, SHAPE, ADDRESS.child("other"), range(300))
    wrong = replace(e, support=replace(other.support, x=e.support.x))
    assert risk(away.oracle(wrong), e) > 0.5 * variance
    assert 0.3 * variance < risk(away.prior_mean(e), e) < 1.2 * variance


def test_the_oracle_weighs_the_cue_against_the_support() -> None:
    """Two functions: Bayes' rule by hand, for one item."""
    task = Intervals(tasks=2, repaired=0.3, noise=1.0)
    e = sample(task, Shape(shot=1, query=1), ADDRESS, range(40))
    amplitude, phase = (np.asarray(task.task_set()[k]) for k in ("amplitude", "phase"))
    x, y = e.support.x[:, 0, 0].double().numpy(), e.support.y[:, 0, 0].double().numpy()
    q = e.query.x[:, 0, 0].double().numpy()
    own = (x > 0).astype(int)
    prior = np.where(np.arange(2)[:, None] == own, 0.7, 0.3)

    def values(at: np.ndarray) -> np.ndarray:
        t = (at + 5) / 10 * 2 - own
        return amplitude[:, None] * np.sin(np.pi * t + phase[:, None])

    weight = prior * np.exp(-0.5 * (values(x) - y) ** 2)
    known = (weight * values(q)).sum(0) / weight.sum(0)
    predicted = task.oracle(e)
    assert predicted is not None
    np.testing.assert_allclose(predicted[:, 0, 0].numpy(), known, atol=1e-4)


def test_without_the_cue_the_input_says_nothing_and_the_functions_are_the_same() -> None:
    free = Intervals(cue=False).at_seed(1)
    cued, e = sample(TASK, SHAPE, ADDRESS, range(500)), sample(free, SHAPE, ADDRESS, range(500))
    assert torch.equal(e.query_y, cued.query_y)
    assert float(e.query.x.min()) < -4.9
    assert float(e.query.x.max()) > 4.9
    variance = float(e.query_y.var())
    assert risk(free.prior_mean(e), e) > 0.3 * variance
    assert risk(free.oracle(e), e) < 0.02 * variance
    assert free.law().tasks is None
    assert TASK.law().oracle(cued) is None
    with pytest.raises(ValueError, match="must be a number"):
        Intervals(tasks=None)
    assert sample(Intervals(tasks=None, cue=False), SHAPE, ADDRESS, range(3)).tasks == 3


def test_an_episode_is_the_same_in_any_batch_and_a_meta_seed_has_its_functions() -> None:
    task = TASK.shifted("repaired", 0.5)
    together = sample(task, Shape(shot=(2, 4), query=3), ADDRESS, range(60, 70))
    for row, i in enumerate(range(60, 70)):
        alone = sample(task, Shape(shot=(2, 4), query=3), ADDRESS, [i])
        assert torch.equal(together.support.x[row], alone.support.x[0])
        assert torch.equal(together.query_y[row], alone.query_y[0])
    assert not together.support.x[~together.support.mask].any()
    other = sample(task.at_seed(2), SHAPE, ADDRESS, range(5))
    assert not torch.equal(other.query_y, sample(task, SHAPE, ADDRESS, range(5)).query_y)
