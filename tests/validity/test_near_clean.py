"""A brittle inner loop that wins on the median while targets are nearly exact is found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.episodes import Episodes
from metabench.learners import LEARNERS
from metabench.learners.baselines.ridge import fourier
from metabench.predictors import LearnerPredictor
from metabench.rng import Address
from metabench.scoring import score
from metabench.suite import load_suite
from metabench.tasks import Shape, sample
from metabench.tasks.harmonics import Harmonics
from metabench.validity import judge

NEAR_CLEAN = Path(__file__).parents[1] / "data" / "near-clean"
HEALTHY, STEALTHY = ("broad-bayes", "narrow-bayes"), "stealth-interpolator"


def test_the_suite_asks_what_was_measured_here() -> None:
    (asked,) = [s for s in load_suite("brittleness").source if s.name == "near-clean"]
    (measured,) = load_suite(NEAR_CLEAN).source
    prose = {"name": True, "title": True, "baselines": True}
    prose["condition"] = {"__all__": {"title": True}}  # type: ignore[assignment]
    assert asked.model_dump(exclude=prose) == measured.model_dump(exclude=prose)


def episodes_of(noise: float) -> Episodes:
    """600 episodes of 24 points with this noise on their targets."""
    address = Address.of("tests", "near-clean")
    return sample(Harmonics(noise=noise), Shape(shot=24, query=10), address, range(600))


def risks(name: str, noise: float) -> Tensor:
    """Of these episodes."""
    task, learner = Harmonics(noise=noise), LEARNERS.get(name)()
    predictor: Any = LearnerPredictor(learner, torch.device("cpu"))
    episodes = episodes_of(noise)
    return score(predictor(task, episodes), episodes)


def flat(penalty: float, noise: float) -> Tensor:
    """Risks of ridge on the sixteen features with one penalty for all episodes."""
    e = episodes_of(noise)
    kernel = fourier(e.support.x, e.support.x).double() + penalty * torch.eye(24)
    dual = torch.linalg.solve(kernel, e.support.y.double())
    output = fourier(e.query.x, e.support.x).double() @ dual
    return (output - e.query_y).square().mean(dim=(1, 2))


def oracle_rise() -> float:
    """What 0.1 of noise costs the Bayes predictor that expects 0.01."""
    near, noisy = (episodes_of(sd) for sd in (0.01, 0.1))
    output = Harmonics(noise=0.01).oracle
    before, after = ((output(e) - e.query_y).square().mean() for e in (near, noisy))
    return float(after - before)


def test_ridge_without_a_prior_is_brittle_there_in_truth() -> None:
    """24 points, 16 weights, none of which is known to be small.

    Of 4,000 episodes with noise added: 19 times the oracle's rise on average, 15 without the worst
    hundredth, 7 by the medians; so it is no matter of a few bad designs. Nor is it the choice of
    the penalty: one that brings the ratio to 2 costs .096 of risk while targets are clean, where
    the oracle has .00005.
    """
    own = risks("fourier-ridge", 0.1) - risks("fourier-ridge", 0.01)
    unit = oracle_rise()
    assert float(own.mean()) > 10 * unit
    assert float(own.median()) > 4 * unit
    for penalty in (1e-4, 1e-3):
        assert float((flat(penalty, 0.1) - flat(penalty, 0.01)).mean()) > 10 * unit
    assert float((flat(0.1, 0.1) - flat(0.1, 0.01)).mean()) < 4 * unit
    assert float(flat(0.1, 0.01).mean()) > 20 * float(risks("narrow-bayes", 0.01).mean())


def test_the_median_prefers_the_interpolator_that_the_mean_unmasks() -> None:
    near, noisy = ({n: risks(n, sd) for n in (STEALTHY, "narrow-bayes")} for sd in (0.01, 0.1))
    assert near[STEALTHY].median() < 0.7 * near["narrow-bayes"].median()
    assert near[STEALTHY].mean() > 1.5 * near["narrow-bayes"].mean()
    assert noisy[STEALTHY].mean() > 50 * noisy["narrow-bayes"].mean()


@pytest.mark.parametrize("replicate", [0, 1])
def test_brittleness_flags_it_and_no_regularised_learner(replicate: int) -> None:
    """In replicates 100 to 139 it was flagged in 40 of 40, at 105 on average, and these in none.

    The baseline was flagged in 39: a penalty chosen per task follows the noise too, at 17.
    """
    verdicts = judge((*HEALTHY, STEALTHY), replicate, load_suite(NEAR_CLEAN)).set_index("label")
    assert verdicts.loc[STEALTHY, "flagged"] is True
    assert all(verdicts.loc[name, "flagged"] is False for name in HEALTHY)
