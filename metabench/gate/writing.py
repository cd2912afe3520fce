"""A verdict for people and machines: terminal, Markdown, JSON, JUnit XML, GitHub annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from metabench.boards.text import markdown, plain
from metabench.gate.checks import Check
from metabench.gate.verdict import Verdict, capped, power_words

if TYPE_CHECKING:
    from rich.console import Console

WORDS = {
    "pass": "pass",
    "regression": "FAIL",
    "undecided": "can't decide",
    "broken": "BROKEN",
    "skipped": "not applicable",
}
STYLES = {
    "pass": "green",
    "regression": "bold red",
    "undecided": "yellow",
    "broken": "bold magenta",
    "skipped": "dim",
}
TITLES = ("", "where", "what", "evidence")


def notes(verdict: Verdict) -> list[str]:
    """What a reader must know beside the table."""
    lines = []
    if verdict.decision is not None and verdict.pairing is not None:
        lines.append(capped(verdict.spec, verdict.decision))
        power = power_words(verdict.decision.overall, verdict.spec, verdict.pairing.unit)
        if power:
            lines.append(power)
        if verdict.pairing.unit == "skill" and len(verdict.pairing.families) > 1:
            lines.append(
                "Differences are in skill, 0 the best per-task baseline and 1 the oracle of the "
                "baseline run; the overall difference cuts skill to [-1, 1] at every level."
            )
    elif verdict.pairing is None:
        lines.append("No baseline: only the limits of the [gate] table were asked.")
    return [*lines, *verdict.notes]


def to_terminal(verdict: Verdict, console: Console) -> None:
    """A table of every check, then what it means."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(plain(_title(verdict))), title_justify="left", title_style="bold")
    for title in TITLES:
        table.add_column(title, overflow="fold")
    for check in verdict.checks:
        style = STYLES[check.status]
        cells = [check.place, check.name, check.evidence]
        table.add_row(
            f"[{style}]{WORDS[check.status]}[/]", *(escape(plain(cell)) for cell in cells)
        )
    console.print(table)
    for note in notes(verdict):
        console.print(escape(plain(note)), soft_wrap=True, highlight=False)
    style = STYLES[verdict.status]
    console.print(f"[{style}]{escape(plain(verdict.headline))}[/]", soft_wrap=True, highlight=False)


def to_markdown(verdict: Verdict) -> str:
    """The same for a pull request."""
    lines = [f"### {markdown(_title(verdict))}", "", f"**{markdown(verdict.headline)}**", ""]
    lines += [f"| verdict | {' | '.join(TITLES[1:])} |", "| --- | --- | --- | --- |"]
    for check in verdict.checks:
        cells = [WORDS[check.status], check.place, check.name, check.evidence]
        lines.append(f"| {' | '.join(markdown(cell) for cell in cells)} |")
    lines += ["", *(f"- {markdown(note)}" for note in notes(verdict))]
    return "\n".join(lines).rstrip() + "\n"


def to_json(verdict: Verdict) -> str:
    """Everything, for another program; ``schema`` is raised when fields change."""
    pairing = verdict.pairing
    made = {
        "schema": 1,
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "headline": verdict.headline,
        "learner": verdict.learner,
        "against": None if pairing is None else pairing.against,
        "unit": None if pairing is None else pairing.unit,
        "identical": pairing is not None and pairing.identical,
        "rule": verdict.spec.rule,
        "margin": verdict.spec.margin,
        "alpha": verdict.spec.alpha,
        "checks": [
            {
                "place": c.place,
                "name": c.name,
                "kind": c.kind,
                "status": c.status,
                "evidence": c.evidence,
                **c.numbers,
            }
            for c in verdict.checks
        ],
        "notes": notes(verdict),
    }
    return json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_junit(verdict: Verdict) -> bytes:
    """JUnit XML: a test suite for every place, a test case for every check."""
    groups: dict[str, list[Check]] = {}
    for check in verdict.checks:
        groups.setdefault(check.place, []).append(check)
    root = ElementTree.Element(
        "testsuites", _counts(verdict, verdict.checks) | {"name": "metabench"}
    )
    for place, checks in groups.items():
        suite = ElementTree.SubElement(
            root, "testsuite", _counts(verdict, checks) | {"name": plain(place)}
        )
        for check in checks:
            case = ElementTree.SubElement(
                suite, "testcase", classname=plain(place), name=plain(check.name), time="0"
            )
            tag = _tag(verdict, check)
            if tag is None:
                ElementTree.SubElement(case, "system-out").text = plain(check.evidence)
                continue
            problem = ElementTree.SubElement(case, tag, message=plain(check.evidence))
            if tag != "skipped":
                problem.set("type", check.status)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _tag(verdict: Verdict, check: Check) -> str | None:
    if check.status == "undecided" and verdict.spec.undecided == "allow":
        return "skipped"
    tags = {
        "regression": "failure",
        "undecided": "error",
        "broken": "error",
        "skipped": "skipped",
    }
    return tags.get(check.status)


def _counts(verdict: Verdict, checks: tuple[Check, ...] | list[Check]) -> dict[str, str]:
    tags = [_tag(verdict, check) for check in checks]
    counted = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(tags)), **{k: str(tags.count(tag)) for k, tag in counted.items()}}


def workflow_commands(verdict: Verdict) -> Iterator[str]:
    """Workflow commands that GitHub shows beside a pull request."""
    for check in verdict.checks:
        if check.status in ("pass", "skipped"):
            continue
        allowed = check.status == "undecided" and verdict.spec.undecided == "allow"
        title = f"metabench: {WORDS[check.status]}: {check.place} {check.name}"
        yield command("warning" if allowed else "error", title, check.evidence)
    if verdict.status == "pass":
        yield command("notice", "metabench", verdict.headline)


def command(level: str, title: str, message: str) -> str:
    """One workflow command; nothing in the text can end it or start another."""

    def data(text: str) -> str:
        return plain(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    return f"::{level} title={data(title).replace(':', '%3A').replace(',', '%2C')}::{data(message)}"


def _title(verdict: Verdict) -> str:
    against = "" if verdict.pairing is None else f" against {verdict.pairing.against}, the baseline"
    return f"metabench gate: {verdict.learner}{against}"
