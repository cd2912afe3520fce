"""Every registered estimator gives a tidy table."""

from __future__ import annotations

import pytest

from metabench.estimators import ESTIMATORS, Panel, panels
from metabench.store import Results
from tests.factories import Learner, make_results

EVERYWHERE = {"aus", "cvar10", "effective-robustness", "ood-gap", "skill"}
"""The others are empty without checkpoints or conditions of their role."""


def only(results: Results) -> Panel:
    (panel,) = panels(results.records, results.episodes)
    return panel


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_an_estimator_has_one_row_a_learner_condition_level_and_seed(name: str) -> None:
    table = ESTIMATORS.get(name).compute(only(make_results()))
    keys = [c for c in ("label", "condition", "level", "seed") if c in table.columns]
    assert {"label", "condition", "seed", "value"} <= set(table.columns)
    assert len(table) or name not in EVERYWHERE
    assert not table.duplicated(keys).any()


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_an_estimator_of_nothing_is_an_empty_table(name: str) -> None:
    broken = Learner("b", family="other", status="failed", error="no luck")
    assert ESTIMATORS.get(name).compute(only(make_results([broken]))).empty
