"""Streams: functions of their address, with the drift that was asked for and no other."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks.drift import StreamSpec, draw_streams
from metabench.tasks.harmonics import Harmonics
from metabench.tasks.linear import Linear
from metabench.tasks.sinusoid import Sinusoid

ADDRESS = Address.of("tests", "drift")


def spec_of(**fields: object) -> StreamSpec:
    known: dict[str, object] = {"name": "s", "levels": [0.01, 0.1], "steps": 290, "window": 10}
    return StreamSpec.model_validate(known | fields)


def test_a_stream_is_a_function_of_its_address_and_index() -> None:
    whole = draw_streams(Harmonics(), spec_of(), ADDRESS, range(4)).at("hazard", 0.1)
    part = draw_streams(Harmonics(), spec_of(), ADDRESS, range(2, 3)).at("hazard", 0.1)
    other = draw_streams(Harmonics(), spec_of(), ADDRESS.child("else"), range(4)).at("hazard", 0.1)
    for name in ("x", "y", "target", "switch"):
        assert torch.equal(getattr(whole, name)[2:3], getattr(part, name))
        assert not torch.equal(getattr(whole, name), getattr(other, name))


@pytest.mark.parametrize(
    "fields", [{}, {"regimes": 3}, {"shift": "walk"}], ids=["novel", "recurring", "walk"]
)
def test_a_longer_stream_begins_with_the_shorter_one(fields: dict[str, object]) -> None:
    spec, longer = spec_of(**fields), spec_of(steps=500, **fields)
    short, long = (
        draw_streams(Harmonics(), s, ADDRESS, range(2)).at(s.shift, 0.1) for s in (spec, longer)
    )
    assert torch.equal(short.y, long.y[:, : spec.items])


def test_a_higher_hazard_adds_switches_and_changes_nothing_else() -> None:
    drawn = draw_streams(Harmonics(), spec_of(), ADDRESS, range(8))
    low, high = drawn.at("hazard", 0.01), drawn.at("hazard", 0.1)
    assert torch.equal(low.x, high.x)
    assert bool((high.switch | ~low.switch).all())
    assert high.switch.sum() > low.switch.sum() > 0
    assert torch.allclose(low.y - low.target, high.y - high.target, atol=1e-5)


def test_items_since_a_switch_are_counted_from_it() -> None:
    batch = draw_streams(Harmonics(), spec_of(), ADDRESS, range(3)).at("hazard", 0.05)
    for switch, since in zip(batch.switch.tolist(), batch.since.tolist(), strict=True):
        age = -1
        for now, found in zip(switch, since, strict=True):
            age = 0 if now else age + (age >= 0)
            assert found == age
    assert not batch.switch[:, 0].any()


@pytest.mark.parametrize("family", [Harmonics(noise=0.0), Linear(dimension=3), Sinusoid()])
def test_within_a_regime_it_is_one_function_and_across_a_switch_another(
    family: Harmonics | Linear | Sinusoid,
) -> None:
    """Weights are found again by least squares in a regime long enough, for linear families."""
    drawn = draw_streams(family, spec_of(), ADDRESS, range(4))
    still, moving = drawn.at("hazard", 0.0), drawn.at("hazard", 0.02)
    for n in range(4):
        first = int(moving.switch[n].int().argmax())
        assert first > 0
        assert torch.equal(still.target[n, :first], moving.target[n, :first])
        assert not torch.isclose(still.target[n, first:], moving.target[n, first:]).all()
    if isinstance(family, Sinusoid):
        return
    features = family.features(still.x)
    solved = torch.linalg.lstsq(features, still.target.double()).solution
    assert torch.allclose(features @ solved, still.target.double(), atol=1e-4)


@pytest.mark.parametrize(("shift", "value"), [("hazard", 0.3), ("walk", 0.2)])
def test_drift_leaves_the_law_of_each_function_as_it_is(shift: str, value: float) -> None:
    spec = spec_of(steps=90, shift=shift)
    batch = draw_streams(Harmonics(), spec, ADDRESS, range(400)).at(spec.shift, value)
    early, late = batch.target[:, :20].square().mean(), batch.target[:, -20:].square().mean()
    assert early == pytest.approx(1.0, abs=0.12)
    assert late == pytest.approx(1.0, abs=0.12)


def test_a_walk_decorrelates_at_its_rate() -> None:
    family = Linear(dimension=1, noise=0.0)
    batch = draw_streams(family, spec_of(steps=90, shift="walk"), ADDRESS, range(1000))
    walk = batch.at("walk", 0.1)
    weight = (walk.target / walk.x)[..., 0]
    correlation = (weight[:, 5] * weight[:, 15]).mean()
    assert correlation == pytest.approx(0.9**5, abs=0.12)


def test_recurring_regimes_are_those_of_the_pool_and_a_switch_leads_to_another() -> None:
    batch = draw_streams(Harmonics(), spec_of(regimes=3), ADDRESS, range(4)).at("hazard", 0.1)
    assert batch.pool is not None
    assert batch.pool.shape == (4, 300, 3)
    at = torch.isclose(batch.pool, batch.target, atol=1e-5).int().argmax(dim=-1)
    error = batch.pool.gather(-1, at[..., None]) - batch.target
    assert error.abs().max() < 1e-5
    changed = at[:, 1:] != at[:, :-1]
    # Two regimes may agree at a point, so a rare change is missed.
    assert (changed == batch.switch[:, 1:]).float().mean() > 0.99
    assert set(at.flatten().tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"levels": [0.1, 0.01]}, "ascend"),
        ({"levels": [1.0]}, "less than 1"),
        ({"every": 7}, "multiple of every"),
        ({"every": 10, "online": True}, "every must be 1"),
        ({"regimes": 3, "shift": "walk"}, "a random walk has none"),
        ({"regimes": 1}, "greater than or equal to 2"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(**fields)


def test_a_finite_set_of_tasks_is_refused() -> None:
    with pytest.raises(MetabenchError, match="say 'regimes'"):
        draw_streams(Harmonics(tasks=4), spec_of(), ADDRESS, range(1))
