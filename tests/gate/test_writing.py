"""A verdict for people and machines, whatever the names hold."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from metabench.gate import GateSpec, Verdict, gate
from metabench.gate.writing import (
    command,
    to_json,
    to_junit,
    to_markdown,
    to_terminal,
    workflow_commands,
)
from tests.factories import BASE, BAYES, Learner, constant, make_results

EVIL = "<script>::error::\x1b[31m\x00%0A|`x`|\r\n::set-output name=a::b"


def verdict(skill: float = 0.3, name: str = "maml", seeds: int = 4, **bad: object) -> Verdict:
    """Of a candidate whose seeds are its own unless its skill is the baseline's 0.8."""
    made = []
    for value, changes in ((skill, bad), (0.8, {})):
        known = {"parameters": {"v": value}, **changes}
        learner = Learner(name, constant(value), "gradient", **known)  # type: ignore[arg-type]
        made.append(make_results((BASE, BAYES, learner), seeds=seeds))
    return gate(made[0], made[1], GateSpec())


def terminal(made: Verdict) -> str:
    console = Console(width=160, file=io.StringIO(), color_system=None)
    to_terminal(made, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_says_which_error_is_capped_how_and_with_what_power() -> None:
    text = terminal(verdict())
    assert "FAIL" in text
    assert "Rule block caps the false alarm" in text
    assert "at most 5 % of the cases (half of it for the overall difference" in text
    assert "a true loss of 0.01 is caught in" in text
    assert "80 % needs" in text
    assert "maml is held back: 4 of 5 checks failed" in text


def test_an_identical_learner_is_called_so_and_has_no_power_to_speak_of() -> None:
    text = terminal(verdict(0.8))
    assert "identical, bit for bit" in text
    assert "Power" not in text
    assert "maml passes" in text


def test_json_has_every_number_and_no_nan() -> None:
    made = json.loads(to_json(verdict()))
    assert (made["schema"], made["status"], made["exit_code"]) == (1, "regression", 1)
    overall = made["checks"][0]
    assert overall["place"] == "overall"
    assert overall["difference"] == pytest.approx(-0.5, abs=0.1)
    assert overall["bound_level"] == 0.975
    assert overall["low"] < overall["difference"] < overall["high"] < 0
    one = json.loads(to_json(verdict(seeds=1)))
    assert (one["status"], one["checks"][0]["p"], one["checks"][0]["spread"]) == (
        "undecided",
        None,
        None,
    )


def test_junit_counts_and_names_what_failed() -> None:
    root = ElementTree.fromstring(to_junit(verdict()))
    assert root.tag == "testsuites"
    assert root.attrib | {"tests": "5", "failures": "4", "errors": "0"} == root.attrib
    suites = {s.get("name"): s for s in root}
    assert set(suites) == {"overall", "toy/toys"}
    case = suites["overall"][0]
    assert (case.get("classname"), case.get("name"), case[0].tag) == (
        "overall",
        "difference",
        "failure",
    )
    assert "skill" in str(case[0].get("message"))
    broken = ElementTree.fromstring(
        to_junit(verdict(status="failed", error="no", failed_seeds=[0]))
    )
    assert [e.get("type") for e in broken.iter("error")] == ["broken"]
    undecided = ElementTree.fromstring(to_junit(verdict(seeds=1)))
    assert {e.get("type") for e in undecided.iter("error")} == {"undecided"}


def test_nothing_in_a_name_or_an_error_is_more_than_text() -> None:
    made = verdict(name=EVIL, status="failed", error=EVIL, failed_seeds=[1])
    assert made.status == "broken"
    text = terminal(made)
    assert "\x1b" not in text
    assert "\x00" not in text
    page = to_markdown(made)
    assert "<script>" not in page
    assert all(line.count("| ") <= 5 for line in page.splitlines() if line.startswith("| BROKEN"))
    ElementTree.fromstring(to_junit(made))
    lines = list(workflow_commands(made))
    assert lines
    assert all(line.startswith(("::error title=", "::warning title=")) for line in lines)
    assert all("\n" not in line and "\r" not in line for line in lines)


def test_a_workflow_command_is_escaped_as_github_reads_it() -> None:
    made = command("error", "a, b: 50 %", "50 %: x\n::error::y")
    assert made == "::error title=a%2C b%3A 50 %25::50 %25: x ::error::y"


def test_annotations_are_errors_for_what_failed_and_a_notice_for_a_pass() -> None:
    assert [line.split(" ")[0] for line in workflow_commands(verdict())] == ["::error"] * 4
    (only,) = workflow_commands(verdict(0.8))
    assert only == "::notice title=metabench::maml passes"
    allowed = gate(
        make_results((BASE, BAYES, Learner("a", constant(0.5), "gradient")), seeds=1),
        make_results((BASE, BAYES, Learner("a", constant(0.6), "gradient")), seeds=1),
        GateSpec(undecided="allow"),
    )
    assert {line.split(" ")[0] for line in workflow_commands(allowed)} == {"::warning", "::notice"}


def test_markdown_is_a_table_with_the_verdict_first() -> None:
    page = to_markdown(verdict())
    assert page.startswith("### metabench gate: maml against maml, the baseline\n\n**maml is held")
    assert "| FAIL | overall | difference |" in page
