"""Controls that observe, train or begin somewhere do what their sentence says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.episodes import Episodes, Support
from metabench.learners.contract import begin, observe
from metabench.learners.controls.drifting import ForgettingBayes, Sleeper
from metabench.learners.controls.narrow_bayes import NarrowBayes
from metabench.learners.controls.starts import Overshooter, PriorStart
from metabench.learners.controls.trained import Crammer, Scholar
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.harmonics import Harmonics
from metabench.training import train
from tests.conftest import stream_of

ADDRESS = Address.of("tests", "moving-controls")
SHAPE = Shape(shot=12, query=5)


def drawn(task: Harmonics | None = None) -> Episodes:
    return sample(task or Harmonics(), SHAPE, ADDRESS, range(20))


def part(support: Support, items: slice) -> Support:
    return Support(support.x[:, items], support.y[:, items], support.mask[:, items], support.way)


def predicted(learner: Any, state: Any, e: Episodes) -> Tensor:
    output: Tensor = learner.predict(state, e.query).output
    return output


def test_forgetting_item_by_item_is_forgetting_at_once() -> None:
    e, learner = drawn(), ForgettingBayes(keep=0.8)
    stream = begin(learner, part(e.support, slice(0, 4)))
    for t in range(4, 12):
        stream = observe(learner, stream, part(e.support, slice(t, t + 1)))
    at_once = learner.adapt(e.support)
    assert torch.allclose(predicted(learner, stream.state, e), predicted(learner, at_once, e))


def test_who_forgets_nothing_is_the_posterior_and_who_forgets_all_the_prior() -> None:
    e, bayes = drawn(), NarrowBayes()
    exact = predicted(bayes, bayes.adapt(e.support), e)
    kept, lost = ForgettingBayes(keep=1.0), ForgettingBayes(keep=1e-9)
    assert torch.allclose(predicted(kept, kept.adapt(e.support), e), exact, atol=1e-4)
    last = bayes.adapt(part(e.support, slice(11, 12)))
    assert torch.allclose(
        predicted(lost, lost.adapt(e.support), e), predicted(bayes, last, e), atol=1e-4
    )


@pytest.mark.parametrize(("seen", "window"), [(8, slice(0, 4)), (9, slice(5, 9))])
def test_a_sleeper_wakes_after_so_many_items_and_reads_the_latest(seen: int, window: slice) -> None:
    e, learner, bayes = drawn(), Sleeper(every=5), NarrowBayes()
    stream = begin(learner, part(e.support, slice(0, 4)))
    for t in range(4, seen):
        stream = observe(learner, stream, part(e.support, slice(t, t + 1)))
    awake = predicted(bayes, bayes.adapt(part(e.support, window)), e)
    assert torch.allclose(predicted(learner, stream.state, e), awake, atol=1e-5)


def test_adaptation_begins_at_the_prior_mean_and_may_go_too_far() -> None:
    task = Harmonics(tasks=2)
    e, ready = drawn(task.law()), []
    for kind in (PriorStart, Overshooter):
        learner = kind()
        train(learner, stream_of(task, SHAPE, steps=1), 0)
        start = learner.retuned(steps=0)
        assert not predicted(start, start.adapt(e.support), e).any()
        ready.append(predicted(learner, learner.adapt(e.support), e))
    exact = task.law().bayes(e)
    assert torch.allclose(ready[0], exact)
    assert torch.allclose(ready[1], 3 * exact)


def test_the_scholar_ends_at_the_law_and_the_crammer_at_its_tasks() -> None:
    task = Harmonics(tasks=8)
    e = drawn(task.law())
    by_heart = task.oracle(e)
    assert by_heart is not None
    for kind, end in ((Scholar, task.law().bayes(e)), (Crammer, by_heart)):
        learner = kind()
        assert not predicted(learner, learner.adapt(e.support), e).any()
        train(learner, stream_of(task, SHAPE, steps=200), 0)
        assert torch.allclose(predicted(learner, learner.adapt(e.support), e), end, atol=1e-4)
