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


CUED = panel_of({("maml", "marked", 0): [0.1, 0.2, 0.5], ("maml", "exchanged", 0): [0.6, 0.8]})


def test_reliance_on_a_cue_is_paired_by_episode() -> None:
    table = cue_gap(CUED)
    assert table[["label", "condition", "level", "seed"]].values.tolist() == [
        ["maml", "exchanged", 1, 0]
    ]
    assert table["value"].item() == pytest.approx(0.55)


def test_what_a_learner_without_the_cue_loses_is_subtracted() -> None:
    other = panel_of({("maml", "marked", 0): [0.3, 0.3], ("maml", "exchanged", 0): [0.3, 0.5]})
    assert cue_gap(CUED, other)["value"].item() == pytest.approx(0.45)
    stranger = panel_of({("cnp", "marked", 0): [0.3], ("cnp", "exchanged", 0): [0.3]})
    assert cue_gap(CUED, stranger).empty
    assert cue_gap(CUED, CUED)["value"].item() == 0


def test_the_public_gap_is_a_difference_of_means() -> None:
    panel = panel_of({("maml", IN_DISTRIBUTION, 0): [0.1, 0.3], ("maml", "secret", 0): [0.5]})
    table = ESTIMATORS.get("public-gap").compute(panel)
    assert table["value"].item() == pytest.approx(0.3)
    assert table["condition"].item() == "secret"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_gap_grows_by_what_every_swapped_episode_loses(risks: list[float], loss: float) -> None:
    before = panel_of({("a", "marked", 0): risks, ("a", "exchanged", 0): risks})
    after = panel_of({("a", "marked", 0): risks, ("a", "exchanged", 0): [r + loss for r in risks]})
    assert cue_gap(before)["value"].item() == 0
    assert cue_gap(after)["value"].item() == pytest.approx(loss)


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
