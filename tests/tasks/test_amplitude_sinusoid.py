"""Sinusoids whose input names the task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from metabench.episodes import Episodes
from metabench.rng import Address
from metabench.tasks import TASKS, Shape, sample
from metabench.tasks.amplitude_sinusoid import AmplitudeSinusoid

ADDRESS = Address.of("tests", "amplitude-sinusoid")
TEST = AmplitudeSinusoid(cue="random", continuous=True)


def episodes_of(task: AmplitudeSinusoid, count: int = 2000) -> tuple[Episodes, np.ndarray]:
    """Episodes, and the amplitude of each by least squares on its noiseless queries."""
    e = sample(task, Shape(shot=5, query=10), ADDRESS, range(count))
    sine = torch.sin(e.query.x[..., :1])
    return e, ((e.query_y * sine).sum((1, 2)) / sine.square().sum((1, 2))).numpy()


def test_there_are_sixteen_tasks_and_the_cue_names_each() -> None:
    e, amplitude = episodes_of(AmplitudeSinusoid())
    cue = e.query.x[:, 0, 1:].argmax(-1).numpy()
    assert set(cue) == set(range(16))
    assert np.allclose(amplitude, np.linspace(0.1, 4, 20)[cue], atol=1e-4)


def test_one_function_of_the_input_fits_every_task() -> None:
    """Which is what lets a learner memorise: y = A(cue) sin x, no support set needed."""
    e, _ = episodes_of(AmplitudeSinusoid())
    weights = torch.linspace(0.1, 4, 20)
    fit = (e.query.x[..., 1:] @ weights)[..., None] * torch.sin(e.query.x[..., :1])
    assert torch.allclose(fit, e.query_y, atol=1e-4)


def test_the_cue_of_a_test_says_nothing_about_its_amplitude() -> None:
    e, amplitude = episodes_of(TEST, 6000)
    cue = e.query.x[:, 0, 1:].argmax(-1).numpy()
    assert amplitude.min() < 0.2
    assert amplitude.max() > 3.9
    assert len(np.unique(amplitude.round(3))) > 1000
    assert abs(np.corrcoef(cue, amplitude)[0, 1]) < 0.05
    assert set(cue) == set(range(16))


def test_support_and_query_carry_the_same_cue_and_padding_carries_none() -> None:
    e = sample(AmplitudeSinusoid(), Shape(shot=(1, 4), query=3), ADDRESS, range(50))
    cue = e.query.x[:, :1, 1:]
    assert torch.equal(e.support.x[..., 1:], cue * e.support.mask[..., None])
    assert not e.support.x[~e.support.mask].any()


def test_noise_is_on_the_support_targets_alone() -> None:
    e, amplitude = episodes_of(AmplitudeSinusoid(noise=0.1))
    clean = torch.from_numpy(amplitude)[:, None, None] * torch.sin(e.support.x[..., :1])
    assert float((e.support.y - clean).std()) == pytest.approx(0.1, rel=0.05)


def test_the_oracle_reads_the_cue_where_it_names_the_task() -> None:
    e, _ = episodes_of(AmplitudeSinusoid())
    assert torch.allclose(AmplitudeSinusoid().oracle(e), e.query_y, atol=1e-4)


def test_the_oracle_without_a_cue_has_the_variance_of_least_squares() -> None:
    """Away from the ends of the interval A's posterior is N(least squares, noise^2 / sum sin^2)."""
    e, amplitude = episodes_of(TEST)
    inside = torch.from_numpy((amplitude > 1) & (amplitude < 3))
    sine = torch.sin(e.support.x[..., :1])
    inside &= sine.square().sum((1, 2)) > 1
    fit = (e.support.y * sine).sum((1, 2)) / sine.square().sum((1, 2))
    expected = fit[:, None, None] * torch.sin(e.query.x[..., :1])
    assert torch.allclose(TEST.oracle(e)[inside], expected[inside], atol=2e-3)


def test_a_continuous_amplitude_has_no_cue() -> None:
    with pytest.raises(ValidationError, match="cue must be 'random'"):
        AmplitudeSinusoid(continuous=True)
    with pytest.raises(ValidationError, match="there are 20 amplitudes"):
        AmplitudeSinusoid(used=21)


def test_it_is_registered() -> None:
    assert TASKS.get("amplitude-sinusoid") is AmplitudeSinusoid
