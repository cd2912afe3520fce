"""Effective robustness: a learner off the others' line, and lines that cannot be drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.estimators import Panel
from metabench.estimators.robustness import Trend, effective_robustness, trend
from metabench.records import IN_DISTRIBUTION, ORACLE, Condition
from metabench.statistics import t_interval
from tests.estimators.tables import panel_of, record_of, rows, value_of

FAR = Condition(name="far", title="", role="scale", values=[1, 2])
PRIVATE = Condition(name="secret", title="", role="private", values=[])

Points = Mapping[str, tuple[float, float]]
"""Learner -> skill at home and far away."""


def panel(points: Points, seeds: int = 1, **families: str) -> Panel:
    """Risk 1 - skill: the baseline has 1 and the oracle 0 everywhere."""
    parts = []
    for seed in range(seeds):
        for name, skills in {"ridge": (0.0, 0.0), ORACLE: (1.0, 1.0), **points}.items():
            for where, skill in zip((IN_DISTRIBUTION, FAR.name), skills, strict=True):
                parts.append(rows(name, where, [1 - skill], seed=seed))
            parts.append(rows(name, PRIVATE.name, [1 - skills[0]], seed=seed))
    records = [record_of("ridge")]
    records += [record_of(name, family=families.get(name, "metric")) for name in points]
    return panel_of(*parts, conditions=[FAR, PRIVATE], records=records)


LINE = {f"l{i}": (0.2 * i, 0.1 * i - 0.05) for i in range(1, 5)}
"""far = home / 2 - 0.05."""


def test_a_learner_is_as_robust_as_it_lies_above_the_line_of_the_others() -> None:
    table = effective_robustness(panel({**LINE, "maml": (0.6, 0.55)}))
    assert value_of(table, "maml") == pytest.approx(0.55 - 0.25)
    assert set(table["condition"]) == {"far"}
    assert set(table["label"]) == {*LINE, "maml"}
    assert (table["learners"] == 4).all()
    assert (table["reason"] == "").all()


def test_a_better_learner_on_the_line_is_no_more_robust() -> None:
    table = effective_robustness(panel({**LINE, "strong": (0.95, 0.425), "weak": (0.1, 0.0)}))
    assert table["value"].to_numpy() == pytest.approx(0)


def test_too_few_learners_or_too_similar_ones_have_no_trend() -> None:
    few = effective_robustness(panel({k: LINE[k] for k in ("l1", "l2", "l3")}))
    assert few["value"].isna().all()
    assert set(few["reason"]) == {"a trend needs 4 other learners, found 2"}
    alike = {f"a{i}": (0.5 + 0.01 * i, 0.1 * i) for i in range(5)}
    found = effective_robustness(panel(alike))
    assert found["value"].isna().all()
    assert set(found["reason"]) == {"the other learners' skill at home lies within 0.05"}


def test_a_control_is_judged_and_draws_no_line() -> None:
    points = {**LINE, "l5": (0.5, 0.2), "broken": (0.9, -3.0)}
    table = effective_robustness(panel(points, broken="control"))
    assert value_of(table, "l5") == pytest.approx(0)
    assert value_of(table, "broken") == pytest.approx(-3.4)


def test_every_seed_is_compared_with_the_line_of_the_means() -> None:
    whole = panel({**LINE, "maml": (0.6, 0.25)}, seeds=2)
    rows_ = whole.rows
    own = (rows_["label"] == "maml") & (rows_["condition"] == "far") & (rows_["seed"] == 1)
    rows_.loc[own, "risk"] -= 0.2
    table = effective_robustness(whole)
    assert value_of(table, "maml", seed=0) == pytest.approx(0)
    assert value_of(table, "maml", seed=1) == pytest.approx(0.2)


SKILL = st.integers(-20, 20).map(lambda i: i / 20)


@given(st.lists(SKILL, min_size=5, max_size=5), SKILL)
@settings(max_examples=8, deadline=None)
def test_what_a_learner_gains_far_away_it_gains_in_full(far: list[float], gain: float) -> None:
    before = {f"f{i}": (0.1 + 0.2 * i, skill) for i, skill in enumerate(far)}
    after = before | {"f0": (0.1, far[0] + gain)}
    one, other = (value_of(effective_robustness(panel(p)), "f0") for p in (before, after))
    assert other - one == pytest.approx(gain)


def test_a_trend_is_a_least_squares_line() -> None:
    home = pd.Series([0.0, 0.2, 0.4, 0.6])
    found = trend(home, pd.Series([0.1, 0.1, 0.3, 0.3]))
    assert isinstance(found, Trend)
    assert (found.slope, found.intercept) == pytest.approx((0.4, 0.08))


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_covers_a_known_residual_where_the_line_is_known(seeds: int) -> None:
    """Each level is a replicate; the residual of the learner off the line is 0.2."""
    rng = np.random.default_rng(seeds)
    runs = 200
    skills = {"ridge": 0.0, ORACLE: 1.0, **{f"l{i}": 0.2 * i for i in range(1, 5)}, "maml": 0.5}
    names = np.repeat(list(skills), seeds).tolist()
    numbers = list(range(seeds)) * len(skills)
    home = np.repeat(list(skills.values()), seeds)
    line = np.where(np.isin(names, ["ridge", ORACLE]), home, 0.5 * home)
    own = np.array(names) == "maml"
    parts = [rows(names, IN_DISTRIBUTION, 1 - home[:, None], seed=numbers)]
    for level in range(runs):
        far = line + own * (0.2 + 0.05 * rng.normal(size=len(own)))
        parts.append(rows(names, "far", 1 - far[:, None], seed=numbers, level=level))
    table = effective_robustness(panel_of(*parts, conditions=[FAR]))
    values = table[table["label"] == "maml"].groupby("level")["value"]
    intervals = [t_interval(list(v)) for _, v in values]
    covered = [i.low <= 0.2 <= i.high for i in intervals if i.low and i.high]
    assert len(covered) == runs
    assert abs(np.mean(covered) - 0.95) < 3 * (0.95 * 0.05 / runs) ** 0.5
