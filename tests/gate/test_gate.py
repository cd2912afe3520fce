"""Candidate against baseline, from their records and episode tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metabench.errors import MetabenchError
from metabench.gate import GateSpec, Verdict, gate
from metabench.records import IN_DISTRIBUTION
from metabench.store import Results
from tests.factories import (
    BASE,
    BAYES,
    RAMP,
    Learner,
    constant,
    falling,
    make_protocol,
    make_results,
    merge,
)

MAML = Learner("maml", falling(0.8, 0.1), "gradient")
SPEC = GateSpec()


def results(skill: float = 0.8, version: int = 1, seeds: int = 5, **changes: object) -> Results:
    """``version`` draws seeds anew; skill falls by 0.1 a level."""
    name = Learner("maml", falling(skill, 0.1), "gradient", parameters={"v": version})
    return make_results((BASE, BAYES, name), seeds=seeds, **changes)  # type: ignore[arg-type]


def judged(candidate: Results, baseline: Results | None = None, **changes: object) -> Verdict:
    known = results() if baseline is None else baseline
    return gate(candidate, known, SPEC.model_copy(update=changes))


def broken(verdict: Verdict) -> str:
    assert (verdict.status, verdict.exit_code) == ("broken", 2)
    return "; ".join(c.evidence for c in verdict.checks if c.status == "broken")


def test_an_unchanged_learner_is_identical_bit_for_bit_with_any_number_of_seeds() -> None:
    for seeds in (1, 5):
        same = results(seeds=seeds)
        verdict = judged(same, results(seeds=seeds))
        assert (verdict.status, verdict.exit_code) == ("pass", 0)
        assert verdict.pairing is not None
        assert verdict.pairing.identical
        assert "identical, bit for bit" in verdict.checks[0].evidence
        assert all(float(np.abs(f.differences).max()) == 0 for f in verdict.pairing.families)


def test_a_loss_is_a_regression_everywhere_it_is_shown_and_a_gain_passes() -> None:
    worse = judged(results(0.5, 2))
    assert (worse.status, worse.exit_code) == ("regression", 1)
    assert {c.status for c in worse.checks if c.kind == "difference"} == {"regression"}
    assert [c.name for c in worse.checks[:4]] == ["difference", "in distribution", "ramp", "flip"]
    assert judged(results(0.95, 2)).status == "pass"


def test_differences_are_those_of_skill_on_shared_seeds() -> None:
    verdict = judged(results(0.5), seed_sd=0)
    assert verdict.pairing is not None
    assert verdict.pairing.unit == "skill"
    # The same record ids draw the same seeds, so that the loss is exactly what was taken.
    for family in verdict.pairing.families:
        assert family.differences == pytest.approx(-0.3)
        assert family.seeds == (0, 1, 2, 3, 4)


def test_the_overall_difference_counts_harm_beyond_minus_one_once() -> None:
    steep = Learner("maml", falling(0.8, 3.0), "gradient")
    worse = Learner("maml", falling(0.8, 4.0), "gradient")
    one, other = (make_results((BASE, BAYES, x), seeds=3) for x in (worse, steep))
    verdict = judged(one, other)
    assert verdict.pairing is not None
    ramp = next(f for f in verdict.pairing.families if f.condition == "ramp")
    assert ramp.differences.mean() == pytest.approx(-3.0)
    assert ramp.bounded.mean() == pytest.approx(0.0)


def test_accuracy_is_gated_in_points_and_skill_if_asked() -> None:
    protocol = make_protocol(metric="accuracy", kind="classification")
    one, other = (results(s, protocol=protocol, base=0.8, best=0.1) for s in (0.5, 0.8))
    points = judged(one, other)
    skill = judged(one, other, on="skill")
    assert points.pairing is not None
    assert skill.pairing is not None
    assert (points.pairing.unit, skill.pairing.unit) == ("accuracy", "skill")
    assert points.pairing.overall() == pytest.approx(0.7 * skill.pairing.overall())
    with pytest.raises(MetabenchError, match="scored by squared error"):
        judged(results(), on="accuracy")


def test_one_seed_cannot_decide_and_says_how_many_would() -> None:
    verdict = judged(results(0.5, 2, seeds=1), results(seeds=1))
    assert (verdict.status, verdict.exit_code) == ("undecided", 2)
    assert "one seed has no interval" in verdict.checks[0].evidence
    assert "run at least 3" in verdict.checks[0].evidence
    allowed = judged(results(0.5, 2, seeds=1), results(seeds=1), undecided="allow")
    assert allowed.exit_code == 0
    assert "undecided, which is allowed" in allowed.headline


def test_merge_says_how_many_seeds_would_rule_the_loss_out() -> None:
    verdict = judged(results(0.8, 2), rule="merge", margin=0.02)
    assert verdict.exit_code == 2
    assert "a loss of 0.02 is not ruled out; about" in verdict.checks[0].evidence


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fingerprint": "f" * 16}, "fingerprint 0123456789abcdef there, ffffffffffffffff here"),
        ({"preset": "smoke"}, "preset standard there, smoke here"),
        ({"data": {"glyphs": "abcdefgh12"}}, "data none there, glyphs abcdefgh here"),
        ({"source": "other"}, "the baseline has no results of it"),
    ],
)
def test_other_episodes_are_never_compared(changes: dict[str, object], reason: str) -> None:
    assert reason in broken(judged(results(**changes)))  # type: ignore[arg-type]


def test_a_suite_that_the_candidate_left_out_is_not_passed_over() -> None:
    both = merge(results(), results(suite="second"))
    assert "the candidate was not" in broken(judged(results(), both))
    assert gate(results(), both, SPEC, suites=["toy"]).status == "pass"
    with pytest.raises(MetabenchError, match="no results of third"):
        gate(results(), both, SPEC, suites=["third"])


@pytest.mark.parametrize("status", ["failed", "timeout", "diverged"])
def test_a_cell_that_did_not_finish_never_passes(status: str) -> None:
    bad = Learner("maml", falling(0.99, 0), "gradient", status=status, error="oh", failed_seeds=[1])  # type: ignore[arg-type]
    verdict = judged(make_results((BASE, BAYES, bad), seeds=5))
    assert f"seed 1: {status}: oh" in broken(verdict)
    alone = gate(make_results((BASE, BAYES, bad), seeds=5), None, SPEC)
    assert (alone.status, alone.exit_code) == ("broken", 2)


def test_seeds_that_were_chosen_are_broken_and_fewer_are_a_note() -> None:
    whole = results()
    records = [r for r in whole.records if r.key.seed != 2]
    kept = whole.episodes[whole.episodes["seed"] != 2]
    assert "lacks seeds 2" in broken(judged(Results(records, kept)))
    fewer = judged(results(seeds=3))
    assert fewer.status == "pass"
    assert any("paired on 3 seeds" in note for note in fewer.notes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_broken(value: float) -> None:
    made = results(0.9, 2)
    rows = made.episodes.copy()
    own = rows.index[(rows["learner"] == "maml") & (rows["condition"] == "ramp")]
    rows.loc[own[0], "value"] = value
    assert "not a finite number (ramp, level 1, seed 0)" in broken(
        judged(replace(made, episodes=rows))
    )


def test_a_condition_that_the_candidate_was_not_scored_under_is_broken() -> None:
    made = results(0.9, 2)
    gone = (made.episodes["learner"] == "maml") & (made.episodes["condition"] == "flip")
    assert "not scored under flip, level 1" in broken(
        judged(replace(made, episodes=made.episodes[~gone]))
    )


def test_only_shared_episodes_are_compared() -> None:
    made = results()
    short = replace(made, episodes=made.episodes[made.episodes["episode"] < 7])
    verdict = judged(short)
    assert verdict.status == "pass"
    assert verdict.pairing is not None
    assert verdict.pairing.identical
    assert verdict.pairing.families[0].episodes == 7 * 5


def test_the_same_code_with_other_numbers_is_told() -> None:
    moved = [r.model_copy(update={"rows_sha256": "1"}) for r in results(0.75).records]
    verdict = judged(replace(results(0.75), records=moved))
    assert any("the learner's file is the same and its numbers are not" in n for n in verdict.notes)


def test_what_is_meant_is_asked_for() -> None:
    two = make_results((BASE, BAYES, MAML, Learner("mann", constant(0.3), "memory")))
    with pytest.raises(MetabenchError, match="holds maml, mann; name the learner"):
        gate(two, two, SPEC)
    with pytest.raises(MetabenchError, match="Did you mean 'maml'"):
        gate(two, two, SPEC, "mmal")
    with pytest.raises(MetabenchError, match="none but baselines"):
        gate(make_results((BASE, BAYES)), None, SPEC)
    assert gate(two, two, SPEC, "ridge").status == "pass"
    against = gate(two, two, GateSpec(against="maml"), "mann")
    assert against.status == "regression"
    pair = [
        Learner("maml", constant(s), "gradient", parameters={"v": v})
        for s, v in ((0.5, 1), (0.6, 2))
    ]
    several = make_results((BASE, BAYES, *pair))
    with pytest.raises(MetabenchError, match=r"several variants of maml: maml\[v=1\], maml\[v=2\]"):
        gate(several, None, SPEC, "maml")


def test_cells_where_nobody_can_be_told_apart_are_left_out_and_named() -> None:
    flat = make_protocol(floor=0.5)
    one, other = (results(s, protocol=flat, base=0.4) for s in (0.5, 0.8))
    verdict = judged(one, other)
    assert verdict.exit_code == 2
    assert any("no skill is defined under flip" in note for note in verdict.notes)


def test_diagnostic_conditions_are_no_worlds_to_do_well_in() -> None:
    odd = RAMP.model_copy(update={"name": "odd", "role": "other-support"})
    protocol = make_protocol(conditions=[RAMP, odd])
    verdict = judged(results(0.5, protocol=protocol), results(protocol=protocol))
    assert verdict.pairing is not None
    assert [f.condition for f in verdict.pairing.families] == [IN_DISTRIBUTION, "ramp"]


def test_through_records_and_tables_false_alarms_stay_within_alpha() -> None:
    alpha, count, alarms = 0.2, 40, 0
    for i in range(count):
        one, other = (results(0.8, 2 * i + k, seeds=4) for k in (0, 1))
        alarms += gate(one, other, SPEC.model_copy(update={"alpha": alpha})).status == "regression"
    # Three standard deviations above the rate that is allowed; gate.json has thousands.
    assert alarms / count <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / count)
