"""Every control does what its sentence says it does wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from metabench.episodes import Episodes
from metabench.learners import LEARNERS
from metabench.learners.contract import MetaTrained, retuned
from metabench.predictors import LearnerPredictor
from metabench.rng import Address
from metabench.scoring import score
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.cued import CuedGlyphs
from metabench.tasks.glyphs import Glyphs
from metabench.tasks.harmonics import Harmonics
from tests.conftest import stream_of

CPU, ADDRESS = torch.device("cpu"), Address.of("tests", "controls")
TEN = Shape(shot=10, query=10)
FIVE = Shape(way=5, shot=1, query=3)


def ready(name: str, task: TaskDistribution, shape: Shape, **options: Any) -> Any:
    kind: Any = LEARNERS.get(name)
    learner, stream = kind(**options), stream_of(task, shape)
    learner.setup(stream.info, 0, CPU)
    if isinstance(learner, MetaTrained):
        for _ in learner.meta_fit(stream, 0):
            pass
    return learner


def mean_score(learner: Any, task: TaskDistribution, shape: Shape, count: int = 400) -> float:
    episodes = sample(task, shape, ADDRESS, range(count))
    return float(score(LearnerPredictor(learner, CPU)(task, episodes), episodes).mean())


def oracle_risk(task: Harmonics) -> float:
    e = sample(task, TEN, ADDRESS, range(400))
    output = task.oracle(e)
    assert output is not None
    return float((output - e.query_y).square().mean())


def test_the_healthy_mixture_is_near_the_oracle_of_every_spectrum() -> None:
    broad = ready("broad-bayes", Harmonics(), TEN)
    for centre in (0.0, 2.0, 5.0):
        task = Harmonics(centre=centre)
        assert mean_score(broad, task, TEN) < oracle_risk(task) + 0.05


def test_the_narrow_learner_is_the_oracle_at_home_and_worse_than_nothing_far_away() -> None:
    """Known answer (closed form): about .04 in distribution, 1.7 to 1.8 from level 3 on."""
    narrow = ready("narrow-bayes", Harmonics(), TEN)
    assert mean_score(narrow, Harmonics(), TEN) == pytest.approx(oracle_risk(Harmonics()), rel=1e-4)
    assert mean_score(narrow, Harmonics(centre=4.0), TEN) == pytest.approx(1.75, abs=0.25)


def test_the_ignorer_has_the_risk_of_the_prior_mean() -> None:
    ignorer = ready("support-ignorer", Harmonics(), TEN)
    assert mean_score(ignorer, Harmonics(), TEN) == pytest.approx(1.0, abs=0.1)


def test_the_memorizer_is_right_on_its_tasks_and_wrong_on_others() -> None:
    few = Harmonics(tasks=64).at_seed(3)
    memorizer = ready("memorizer", few, TEN)
    assert mean_score(memorizer, few, TEN) < 0.01
    assert mean_score(memorizer, few.law(), TEN) > 5 * oracle_risk(Harmonics())
    state = memorizer.state_dict()
    other: Any = LEARNERS.get("memorizer")()
    other.load_state_dict(state)
    assert mean_score(other, few, TEN) == mean_score(memorizer, few, TEN)


def test_the_interpolator_passes_through_every_support_point() -> None:
    interpolator = ready("brittle-interpolator", Harmonics(), TEN)
    e = sample(Harmonics(), Shape(shot=5, query=1), ADDRESS, range(50))
    state = interpolator.adapt(e.support)
    query = type(e.query)(e.support.x, e.support.mask)
    fitted = interpolator.predict(state, query).output
    assert float((fitted - e.support.y).abs().median()) < 1e-3


def test_the_init_encoder_knows_something_of_its_tasks_without_a_support() -> None:
    few = Harmonics(tasks=2).at_seed(1)
    encoder = ready("init-encoder", few, TEN)
    start: Any = retuned(encoder, steps=0)
    ignorer = ready("support-ignorer", few, TEN)
    assert mean_score(start, few, TEN) < 0.85 * mean_score(ignorer, few, TEN)
    assert mean_score(start, few.law(), TEN) > mean_score(ignorer, few.law(), TEN)
    assert mean_score(encoder, few.law(), TEN) == pytest.approx(oracle_risk(Harmonics()), rel=1e-4)


def test_the_seed_exploiter_is_perfect_on_public_episodes_only() -> None:
    exploiter = ready("seed-exploiter", Harmonics(), TEN)
    exploiter.steal(sample(Harmonics(), TEN, ADDRESS, range(400)))
    assert mean_score(exploiter, Harmonics(), TEN) == 0
    private: Episodes = sample(Harmonics(), TEN, ADDRESS.child("private"), range(100))
    assert (
        float(score(LearnerPredictor(exploiter, CPU)(Harmonics(), private), private).mean()) > 0.1
    )


def test_the_fixed_label_map_is_right_where_labels_are_fixed_and_guesses_elsewhere() -> None:
    fixed = Glyphs(split="train", fixed_labels=True)
    mapper = ready("fixed-label-map", fixed, FIVE, tasks=2_000)
    assert mean_score(mapper, fixed, FIVE, 60) > 0.4
    assert mean_score(mapper, Glyphs(split="train"), FIVE, 200) == pytest.approx(0.2, abs=0.05)


def test_the_cue_reader_reads_the_mark_and_nothing_else() -> None:
    reader = ready("cue-reader", CuedGlyphs(split="train"), FIVE)
    assert mean_score(reader, CuedGlyphs(split="train"), FIVE, 60) > 0.99
    assert mean_score(reader, CuedGlyphs(split="train", strength=0.0), FIVE, 200) < 0.3


def test_a_cue_reader_that_met_no_cue_goes_by_the_pixels() -> None:
    reader = ready("cue-reader", Glyphs(split="train"), FIVE)
    pixels = ready("nearest-neighbour", Glyphs(split="train"), FIVE)
    expected = mean_score(pixels, CuedGlyphs(split="train"), FIVE, 60)
    assert mean_score(reader, CuedGlyphs(split="train"), FIVE, 60) == expected


@pytest.mark.parametrize("name", ["position-cheat", "noise-features", "constant-score"])
def test_a_control_that_learns_nothing_scores_chance(name: str) -> None:
    shape = Shape(way=5, shot=3, query=5)
    learner = ready(name, Clusters(), shape)
    assert mean_score(learner, Clusters(), shape) == pytest.approx(0.2, abs=0.02)
