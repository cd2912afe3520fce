"""What a learner says of itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from metabench.learners import LEARNERS, MetaLearner
from metabench.learners.build import parameter_model, resolve_parameters
from metabench.records import Knob


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_shipped_learner_is_documented(name: str) -> None:
    learner = LEARNERS.get(name)
    assert learner.card.name == name
    assert learner.card.citation
    assert learner.__doc__
    fields = parameter_model(learner).model_fields
    assert [key for key, field in fields.items() if not field.description] == []


@pytest.mark.parametrize("name", list(LEARNERS))
def test_only_what_is_called_transductive_is(name: str) -> None:
    assert LEARNERS.get(name).card.transductive == name.endswith("-transductive")


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_knob_is_a_hyper_parameter_whose_prior_holds_its_default(name: str) -> None:
    learner = LEARNERS.get(name)
    for kind in learner.card.kinds:
        knobs = learner.card.knobs_of(kind)
        assert len({knob.field for knob in knobs}) == len(knobs)
        for knob in knobs:
            assert 0 < knob.low < knob.high
            for end in (knob.quantile(0.0), knob.quantile(1.0)):
                value = end if _fractional(learner, knob.field) else round(end)
                assert resolve_parameters(learner, {knob.field: value})[knob.field] == value
            default = resolve_parameters(learner, {})[knob.field]
            if default is not None:
                assert knob.low <= float(default) <= knob.high
            if default is not None and knob.level is not None:
                assert knob.unit(float(default)) == pytest.approx(0.5)


def _fractional(learner: type[MetaLearner[Any]], field: str) -> bool:
    annotation = parameter_model(learner).model_fields[field].annotation
    return annotation is float or float in get_args(annotation) or "float" in str(annotation)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_learner_that_meta_trains_by_gradient_declares_its_rate(name: str) -> None:
    card = LEARNERS.get(name).card
    if card.family in ("gradient", "memory") or name in ("protonet", "r2d2", "deep-kernel"):
        for kind in card.kinds:
            assert any(knob.level == 1 for knob in card.knobs_of(kind))


def test_the_quantile_of_a_prior_and_its_inverse() -> None:
    log = Knob(field="rate", low=0.01, high=1.0, log=True)
    assert log.quantile(0.5) == pytest.approx(0.1)
    flat = Knob(field="rate", low=2, high=6)
    assert flat.quantile(0.25) == 3
    for knob in (log, flat):
        assert knob.unit(knob.quantile(0.3)) == pytest.approx(0.3)
