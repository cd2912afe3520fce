"""Planted cues and private episodes, by hand and by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metabench.estimators import ESTIMATORS, Panel, panels
from metabench.estimators.leak import cue_gap, public_gap
from metabench.records import IN_DISTRIBUTION, Condition
from tests.factories import Learner, make_protocol, make_results

CONDITIONS = [
    Condition(name="marked", title="", role="cue-intact", values=[]),
    Condition(name="exchanged", title="", role="cue-swapped", values=[]),
    Condition(name="secret", title="", role="private", values=[]),
    Condition(name="marked-too", title="", role="uncued-intact", values=[]),
    Condition(name="exchanged-too", title="", role="uncued-swapped", values=[]),
]

EMPTY = make_results(
    [Learner("maml")], seeds=1, protocol=make_protocol(conditions=CONDITIONS, episodes=1)
)


def panel_of(risks: dict[tuple[str, str, int], list[float]]) -> Panel:
    """(label, condition, seed) -> risk by episode."""
    (panel,) = panels(EMPTY.records, EMPTY.episodes)
    parts = [
        pd.DataFrame(
            {
                "label": label,
                "condition": condition,
                "level": int(condition != IN_DISTRIBUTION),
                "seed": seed,
                "episode": range(len(values)),
                "metric": "mse",
                "value": values,
                "risk": values,
            }
        )
        for (label, condition, seed), values in risks.items()
    ]
    return replace(panel, rows=pd.concat(parts, ignore_index=True))


def against(panel: Panel, other: Panel) -> Panel:
    """The panel beside that of the learners that were meta-trained without the cue."""
    return replace(panel, siblings=(EMPTY_PANEL, other))


CUED = panel_of({("maml", "marked", 0): [0.1, 0.2, 0.5], ("maml", "exchanged", 0): [0.6, 0.8]})
UNMOVED = panel_of({("maml", "marked-too", 0): [0.3], ("maml", "exchanged-too", 0): [0.3]})
EMPTY_PANEL = panel_of({("maml", IN_DISTRIBUTION, 0): [0.1]})


def test_reliance_on_a_cue_is_paired_by_episode() -> None:
    table = cue_gap(against(CUED, UNMOVED))
    assert table[["label", "condition", "level", "seed"]].values.tolist() == [
        ["maml", "exchanged", 1, 0]
    ]
    assert table["value"].item() == pytest.approx(0.55)


def test_what_a_learner_without_the_cue_loses_is_subtracted() -> None:
    other = panel_of(
        {("maml", "marked-too", 0): [0.3, 0.3], ("maml", "exchanged-too", 0): [0.3, 0.5]}
    )
    assert cue_gap(against(CUED, other))["value"].item() == pytest.approx(0.45)


def test_without_the_learner_that_had_no_cue_nothing_is_said() -> None:
    assert cue_gap(CUED).empty
    stranger = panel_of({("cnp", "marked-too", 0): [0.3], ("cnp", "exchanged-too", 0): [0.3]})
    assert cue_gap(against(CUED, stranger)).empty
    another_seed = panel_of({("maml", "marked-too", 1): [0.3], ("maml", "exchanged-too", 1): [0.3]})
    assert cue_gap(against(CUED, another_seed)).empty


def test_panels_of_one_run_know_each_other() -> None:
    record, rows = EMPTY.records[0], EMPTY.episodes
    key = record.key.model_copy(update={"source": "other"})
    stranger = record.key.model_copy(update={"source": "third", "preset": "full"})
    records = [
        record,
        record.model_copy(update={"id": "b", "key": key}),
        record.model_copy(update={"id": "c", "key": stranger}),
    ]
    parts = [rows.assign(record=r.id) for r in records]
    found = {p.source: p for p in panels(records, pd.concat(parts))}
    assert [p.source for p in found[record.key.source].siblings] == ["other"]
    assert [p.source for p in found["other"].siblings] == [record.key.source]
    assert not found["third"].siblings


def test_the_public_gap_is_a_difference_of_means() -> None:
    panel = panel_of({("maml", IN_DISTRIBUTION, 0): [0.1, 0.3], ("maml", "secret", 0): [0.5]})
    table = ESTIMATORS.get("public-gap").compute(panel)
    assert table["value"].item() == pytest.approx(0.3)
    assert table["condition"].item() == "secret"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_gap_grows_by_what_every_swapped_episode_loses(risks: list[float], loss: float) -> None:
    same = {("a", "marked-too", 0): risks, ("a", "exchanged-too", 0): risks}
    worse = {("a", "marked", 0): risks, ("a", "exchanged", 0): [r + loss for r in risks]}
    assert cue_gap(against(panel_of(worse), panel_of(same)))["value"].item() == pytest.approx(loss)


@pytest.mark.parametrize(("loss", "flagged"), [(0.0, (0.0, 0.05)), (0.06, (0.9, 1.0))])
def test_only_a_learner_that_knows_the_public_episodes_is_flagged(
    loss: float, flagged: tuple[float, float]
) -> None:
    """Accuracy 0.9, 400 episodes of 25 queries, seed deviation 0.01; flag: lower95 > 0.02."""
    rng = np.random.default_rng(0)
    runs, flags = 40, 0
    for _ in range(runs):
        risks = {}
        for seed in range(5):
            base = 0.1 + 0.01 * rng.normal()
            for condition, extra in ((IN_DISTRIBUTION, 0.0), ("secret", loss)):
                wrong = rng.binomial(25, base + extra, size=400) / 25
                risks["a", condition, seed] = wrong.tolist()
        values = public_gap(panel_of(risks))["value"].to_numpy()
        error = values.std(ddof=1) / 5**0.5
        flags += values.mean() - stats.t.ppf(0.95, 4) * error > 0.02
    assert flagged[0] <= flags / runs <= flagged[1]
