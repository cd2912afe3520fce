"""What a learner says of itself."""

from __future__ import annotations

import pytest

from metabench.learners import LEARNERS
from metabench.learners.build import parameter_model


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
