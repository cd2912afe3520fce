"""The sources of suite ``overfitting`` that name the task: a known memoriser is flagged there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pandas as pd
import pytest
from pydantic import Field

from metabench.learners.contract import LearnerCard
from metabench.learners.controls.classes import FixedLabelMap
from metabench.records import Budget
from metabench.running.plan import LearnerChoice
from metabench.suite import Suite, load_suite
from metabench.validity import judge


def asked(source: str, episodes: int, tasks: int) -> Suite:
    """That source of the suite, small."""
    suite = load_suite("overfitting")
    budget = Budget(tasks=tasks, steps=1, seconds=600)
    preset = suite.get_preset("full").model_copy(
        update={"seeds": 3, "episodes": episodes, "budget": budget, "parameters": {}, "sources": []}
    )
    source_ = [s for s in suite.source if s.name == source]
    return suite.model_copy(update={"source": source_, "preset": {"full": preset}})


def flags(verdicts: pd.DataFrame) -> dict[str, set[str]]:
    """Label -> the probes that flag it."""
    known = {label: set[str]() for label in verdicts["label"]}
    for row in verdicts[verdicts["flagged"] == True].itertuples():  # noqa: E712
        known[str(row.label)].add(str(row.probe))
    return known


@dataclass(eq=False)
class Thorough(FixedLabelMap):
    """Knows a thousand tasks by heart."""

    card = LearnerCard("thorough-map", "control", ("classification",))
    tasks: Annotated[int, Field(ge=1)] = 1_000


CLASSIFIERS: tuple[LearnerChoice, ...] = (Thorough, "noise-features")


@pytest.mark.parametrize(
    ("source", "expected"), [("glyphs", {"lpc", "sdi"}), ("glyphs-fixed", {"lpc", "sdi", "gap"})]
)
def test_a_fixed_map_is_flagged_by_renamed_labels_and_no_learner_of_single_tasks(
    source: str, expected: set[str]
) -> None:
    """Only where labels were fixed in meta-training is it good at the tasks it has met."""
    found = flags(judge(CLASSIFIERS, 0, asked(source, 40, 1_000)))
    assert found["thorough-map"] == expected
    assert found["nearest-neighbour"] == found["ridge"] == set()
    # It follows the labels, and is bad: dependence on the support is measured by what it brings.
    assert found["noise-features"] == {"sdi"}


def test_who_knows_the_interval_by_heart_is_flagged_when_it_has_another_function() -> None:
    found = flags(judge(("memorizer",), 0, asked("intervals", 100, 10)))
    assert found == {"memorizer": {"gap"}, "ridge": set()}


def test_without_the_cue_the_same_learner_reads_its_support() -> None:
    verdicts = judge(("memorizer",), 0, asked("intervals-no-cue", 100, 10))
    assert flags(verdicts) == {"memorizer": set(), "ridge": set()}
    sdi = verdicts[verdicts["probe"] == "sdi"].set_index("label")["mean"]
    assert (sdi > 0.75).all()
