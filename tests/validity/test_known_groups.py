"""The probes flag what is broken, and leave what is healthy alone."""

from __future__ import annotations

import pandas as pd
import pytest

from metabench.reports.known_groups import markdown, picture
from metabench.validity import BROKEN, DESIGNATED, HEALTHY, Judgements, judge, matrix


@pytest.fixture(scope="module")
def verdicts() -> pd.DataFrame:
    return judge((HEALTHY[0], *BROKEN), 1_000)


def flagged(verdicts: pd.DataFrame, label: str, probe: str) -> object:
    (found,) = verdicts[(verdicts["label"] == label) & (verdicts["probe"] == probe)]["flagged"]
    return found


@pytest.mark.parametrize("probe", DESIGNATED)
def test_a_probe_flags_the_controls_that_are_broken_in_its_way(
    verdicts: pd.DataFrame, probe: str
) -> None:
    assert all(flagged(verdicts, label, probe) is True for label in DESIGNATED[probe])


def test_no_probe_flags_a_healthy_learner(verdicts: pd.DataFrame) -> None:
    healthy = verdicts[verdicts["label"].isin(HEALTHY)]
    assert len(healthy) == len(HEALTHY) * len(DESIGNATED)
    assert not any(f is True for f in healthy["flagged"])


def test_a_probe_of_one_fault_is_not_one_of_every_fault(verdicts: pd.DataFrame) -> None:
    """The interpolator's risks have tails so heavy that it is flagged by chance, in 1 of 20."""
    for probe in ("sdi", "gap", "brittleness"):
        others = set(BROKEN) - set(DESIGNATED[probe]) - {"brittle-interpolator"}
        assert not any(flagged(verdicts, label, probe) is True for label in others), probe


def judgements(flags: dict[str, list[bool | None]]) -> Judgements:
    rows = [
        (label, "gap", i, 0.1, 0.2, flag)
        for label, given in flags.items()
        for i, flag in enumerate(given)
    ]
    names = ["label", "probe", "replicate", "mean", "bound", "flagged"]
    return Judgements(pd.DataFrame(rows, columns=names))


def test_the_bounds_are_those_of_clopper_and_pearson() -> None:
    """Known answers: 1 - .05^(1/200) and .05^(1/40)."""
    found = matrix(judgements({"broad-bayes": [False] * 200, "memorizer": [True] * 40}))
    healthy, broken = found.itertuples()
    assert healthy.high == pytest.approx(1 - 0.05 ** (1 / 200))
    assert broken.low == pytest.approx(0.05 ** (1 / 40))
    assert healthy.accepted is True
    assert broken.accepted is True


def test_four_false_alarms_in_200_are_accepted_and_five_are_not() -> None:
    for alarms, accepted in ((4, True), (5, False)):
        given: list[bool | None] = [True] * alarms + [False] * (200 - alarms)
        (row,) = matrix(judgements({"broad-bayes": given})).itertuples()
        assert row.accepted is accepted


def test_what_could_not_be_decided_counts_as_missed() -> None:
    (row,) = matrix(judgements({"memorizer": [True] * 38 + [None] * 2})).itertuples()
    assert row.flags == 38
    assert row.accepted is False


def test_the_matrix_is_drawn_and_written(verdicts: pd.DataFrame) -> None:
    found = matrix(Judgements(verdicts))
    text = markdown(found)
    assert all(label in text for label in (*HEALTHY, *BROKEN))
    assert "not accepted" in text  # one replicate proves nothing
    assert picture(found).startswith("<svg")
