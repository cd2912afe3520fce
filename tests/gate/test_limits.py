"""metabench.toml, and the limits that a learner keeps by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.errors import MetabenchError
from metabench.estimators import panels
from metabench.gate import GateSpec, gate, load_config
from metabench.gate.checks import Check
from metabench.gate.limits import limits
from metabench.gate.probes import harm_checks
from metabench.gate.spec import BreakEvenLevel, Gap, Skill
from metabench.records import Probe
from metabench.store import Results
from tests.factories import BASE, BAYES, Learner, falling, make_protocol, make_results

TOML = """
learner = "mine.py:Mine"
suites = ["ood-functions"]
seeds = 3

[gate]
baseline = "runs/main"
break_even = [{ condition = "noise", at_least = 2 }]
"""


def results(skill: float = 0.8, step: float = 0.3, seeds: int = 4, **changes: object) -> Results:
    own = Learner("maml", falling(skill, step), "gradient")
    return make_results((BASE, BAYES, own), seeds=seeds, protocol=make_protocol(**changes))


def asked(made: Results, **tables: object) -> list[Check]:
    checks = limits(panels(made.records, made.episodes), "maml", GateSpec(**tables))  # type: ignore[arg-type]
    return [c for c in checks if c.kind != "cells"]


def test_a_configuration_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "metabench.toml"
    path.write_text(TOML)
    config = load_config(path)
    assert (config.preset, config.seeds, config.runs) == ("smoke", 3, ".metabench")
    assert (config.gate.rule, config.gate.margin, config.gate.alpha) == ("block", 0.01, 0.05)
    assert (config.gate.probes, config.gate.failures, config.gate.undecided) == (
        "no-flag",
        "none",
        "fail",
    )
    assert config.gate.break_even[0].at_least == 2


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("learner =", "lerner =", r"unknown field 'lerner'. Did you mean 'learner'\?"),
        ("baseline =", "basline =", r"gate: unknown field 'basline'. Did you mean 'baseline'\?"),
        ("seeds = 3", "seeds = 0", r"seeds: Input should be greater than or equal to 1, found 0"),
        ("seeds = 3", 'seeds = "3"', r"seeds: Input should be a valid integer, found '3'"),
        ("at_least = 2", "atleast = 2", r"gate.break_even\[0\]: unknown field 'atleast'"),
        ('suites = ["ood-functions"]', "suites = []", r"suites: List should have at least 1"),
        ("[gate]", '[gate]\nrule = "both"', r"gate.rule: Input should be 'block' or 'merge'"),
        ("[gate]", "[gate]\nalpha = 0.9", r"gate.alpha: Input should be less than 0.5"),
        ("[gate]", '[gate]\nfailures = "some"', r"gate.failures: Input should be 'none'"),
        ("[gate]", "[gate", r"not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_field(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    path = tmp_path / "metabench.toml"
    path.write_text(TOML.replace(before, after))
    with pytest.raises(MetabenchError, match=reason) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_told() -> None:
    with pytest.raises(MetabenchError, match="no such file"):
        load_config(Path("nowhere.toml"))


def test_skill_must_be_shown_to_be_enough() -> None:
    made = results()
    for limit, status in ((0.2, "pass"), (1.5, "regression"), (0.8, "undecided")):
        entry = Skill(at_least=limit, condition="in-distribution")
        (check,) = asked(made, skill=[entry])
        assert check.status == status, check.evidence
    assert [c.name for c in asked(made, skill=[Skill(at_least=-9)])][:3] == [
        "skill · in-distribution",
        "skill · ramp 1",
        "skill · ramp 2",
    ]
    (one,) = asked(made, skill=[Skill(at_least=-9, condition="ramp", level=3)])
    assert one.name == "skill · ramp 3"


def test_a_learner_must_be_shown_to_break_even_late_enough() -> None:
    # 0.8 - 0.3 s meets zero at 2.67.
    for limit, status in ((1, "pass"), (2.6, "undecided"), (4.5, "regression")):
        (check,) = asked(results(), break_even=[BreakEvenLevel(at_least=limit)])
        assert (check.name, check.status) == ("break-even · ramp", status), check.evidence
    (never,) = asked(results(step=0.01), break_even=[BreakEvenLevel(at_least=5)])
    assert never.status == "pass"
    (beyond,) = asked(results(step=0.01), break_even=[BreakEvenLevel(at_least=6)])
    assert (beyond.status, "levels end at 5" in beyond.evidence) == ("undecided", True)


def test_a_gap_must_be_shown_to_be_small_enough() -> None:
    # The base-to-oracle range is 1, so that the gap is 0.3 a level.
    for limit, status in ((0.7, "pass"), (0.5, "regression")):
        (check,) = asked(results(), gap=[Gap(at_most=limit, condition="ramp", level=2)])
        assert check.status == status, check.evidence


def test_one_seed_shows_nothing() -> None:
    made = results(seeds=1)
    tables = {
        "skill": [Skill(at_least=-9, condition="in-distribution")],
        "break_even": [BreakEvenLevel(at_least=1)],
        "gap": [Gap(at_most=9, condition="ramp", level=1)],
    }
    checks = asked(made, **tables)
    assert [c.status for c in checks] == ["undecided"] * 3
    verdict = gate(made, None, GateSpec(**tables))  # type: ignore[arg-type]
    assert verdict.exit_code == 2
    assert gate(made, None, GateSpec(**tables, undecided="allow")).exit_code == 0  # type: ignore[arg-type]


def test_a_limit_that_names_what_was_not_run_is_a_mistake() -> None:
    for entry, reason in (
        (Skill(at_least=0, condition="rmap"), r"gate.skill\[0\].condition: .* Did you mean 'ramp'"),
        (Skill(at_least=0, suite="ood"), r"gate.skill\[0\].suite: unknown suite 'ood'"),
        (Skill(at_least=0, condition="ramp", level=9), "nothing that was run is meant"),
    ):
        with pytest.raises(MetabenchError, match=reason):
            asked(results(), skill=[entry])


def test_a_flag_fails_and_what_a_probe_cannot_decide_is_not_called_clean() -> None:
    def probed(threshold: float, seeds: int = 4, **changes: object) -> str:
        probe = Probe(
            estimator="skill", condition="ramp", level=4, threshold=threshold, flag="below"
        )
        (check,) = asked(results(seeds=seeds, probes=[probe]), **changes)
        assert "Skill" in check.evidence
        assert f"flagged below {threshold:.2f}" in check.evidence
        return check.status

    # Skill at level 4 is -0.4.
    assert probed(0.0) == "regression"
    assert probed(-2.0) == "pass"
    assert probed(0.0, seeds=1) == "undecided"
    probe = Probe(estimator="skill", threshold=0.0, flag="below")
    assert asked(results(probes=[probe]), probes="ignore") == []


def test_harm_is_flagged_where_skill_is_shown_to_be_below_the_baseline() -> None:
    def statuses(step: float, **changes: object) -> dict[str, str]:
        made = results(step=step, **changes)  # type: ignore[arg-type]
        (panel,) = panels(made.records, made.episodes)
        return {c.name: c.status for c in harm_checks(panel, "maml")}

    assert statuses(0.1) == {"in-distribution": "pass", "ramp": "pass", "flip": "pass"}
    assert statuses(0.6)["ramp"] == "regression"  # -0.4 at level 2
    assert statuses(0.3)["ramp"] == "regression"  # 0.2 at level 2, -0.7 at level 5
    assert set(statuses(0.3, seeds=1).values()) == {"undecided"}
