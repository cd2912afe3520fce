"""The gate's verdict: every check with its evidence, and one exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.errors import MetabenchError
from metabench.estimators import Panel, panels
from metabench.gate.checks import Check, Numbers, worst
from metabench.gate.choosing import choose_learner, records_of, unit_of
from metabench.gate.decision import LEAST_SEEDS, Decision, Status, Test, decide
from metabench.gate.limits import limits
from metabench.gate.pairing import Family, Pairing, pair
from metabench.gate.spec import GateSpec
from metabench.records import IN_DISTRIBUTION
from metabench.statistics import number
from metabench.store import Results

EXIT = {"pass": 0, "regression": 1, "undecided": 2, "broken": 2, "skipped": 0}
UNITS = {"accuracy": "accuracy", "skill": "skill"}


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one learner."""

    learner: str
    spec: GateSpec
    checks: tuple[Check, ...]
    pairing: Pairing | None
    """None without a baseline."""
    decision: Decision | None
    notes: tuple[str, ...]

    @property
    def status(self) -> Status:
        """Of the worst check; what is undecided passes only if the table says so."""
        found = [c.status for c in self.checks]
        if self.spec.undecided == "allow":
            found = ["pass" if status == "undecided" else status for status in found]
        status = worst(found)
        return "pass" if status == "skipped" else status

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 2 undecided or broken."""
        return EXIT[self.status]

    @property
    def headline(self) -> str:
        """One sentence."""
        count = {s: sum(c.status == s for c in self.checks) for s in EXIT}
        words = {
            "pass": f"{self.learner} passes",
            "regression": f"{self.learner} is held back: {count['regression']} of "
            f"{len(self.checks)} checks failed",
            "undecided": f"{self.learner}: cannot decide {count['undecided']} of "
            f"{len(self.checks)} checks",
            "broken": f"{self.learner}: broken, nothing may pass",
        }
        if self.status == "pass" and count["undecided"]:
            return f"{words['pass']}; {count['undecided']} checks are undecided, which is allowed"
        return words[self.status]


def gate(
    candidate: Results,
    baseline: Results | None,
    spec: GateSpec,
    learner: str | None = None,
    suites: Sequence[str] = (),
) -> Verdict:
    """Hold a candidate against a baseline and against the limits of a [gate] table.

    ``suites`` restricts both; empty: all. Raises MetabenchError where what is meant is
    not clear.
    """
    mine = _of(candidate, suites)
    name = choose_learner(mine, learner, "candidate")
    own = [p for p in mine if records_of(p, name)]
    checks = limits(own, name, spec)
    if baseline is None:
        return Verdict(name, spec, tuple(checks), None, None, ())
    theirs = _of(baseline, suites)
    against = choose_learner(theirs, spec.against or name, "baseline")
    unit = unit_of(own, spec.on)
    paired = pair(own, theirs, name, against, unit)
    failed = {c.place for c in checks if c.kind == "cells" and c.status == "broken"}
    known = {f"{place}: " for place in failed}
    told = [p for p in paired.problems if not any(p.startswith(k) for k in known)]
    checks += [Check(*_split(p), "broken", p.partition(": ")[2]) for p in told]
    decision = None
    if paired.families and len(paired.overall()):
        decision = decide(paired.overall(), [f.differences for f in paired.families], spec.policy)
        checks = [*_differences(paired, decision, spec), *checks]
    elif not paired.problems:
        checks.append(
            Check("overall", "difference", "difference", "broken", "no skill or no seed is shared")
        )
    return Verdict(name, spec, tuple(checks), paired, decision, paired.notes)


def _of(results: Results, suites: Sequence[str]) -> list[Panel]:
    found = panels(results.records, results.episodes)
    kept = [p for p in found if not suites or p.suite in suites]
    if not kept:
        known = ", ".join(sorted({p.suite for p in found}))
        raise MetabenchError(f"no results of {', '.join(suites)}; there are: {known or 'none'}")
    return kept


def _split(problem: str) -> tuple[str, str, str]:
    place = problem.partition(": ")[0]
    return place, "comparison", "difference"


def _differences(paired: Pairing, decision: Decision, spec: GateSpec) -> list[Check]:
    """The overall difference, then every family."""
    checks = [
        Check(
            "overall",
            "difference",
            "difference",
            decision.overall.status,
            overall_words(paired, decision.overall, spec),
            {**_numbers(decision.overall), "detectable": decision.overall.detectable},
        )
    ]
    for family, test in zip(paired.families, decision.families, strict=False):
        checks.append(
            Check(
                family.place,
                where(family),
                "difference",
                test.status,
                family_words(family, test, paired),
                {
                    **_numbers(test),
                    "baseline": float(family.baseline.mean()),
                    "candidate": float(family.candidate.mean()),
                    "episodes": family.episodes,
                },
            )
        )
    return checks


def where(family: Family) -> str:
    """The condition, in words for the first."""
    return "in distribution" if family.condition == IN_DISTRIBUTION else family.condition


def overall_words(paired: Pairing, test: Test, spec: GateSpec) -> str:
    """The overall difference with its bounds and what it was judged by."""
    count = len(paired.families)
    over = f"mean of {count} conditions" if count > 1 else "the only condition"
    if paired.identical:
        return f"identical, bit for bit ({over}, {_seeds(test.seeds)})"
    mean = signed(test.interval.mean)
    if test.interval.low is None or test.interval.high is None:
        return (
            f"{mean} {paired.unit} ({over}, 1 seed): one seed has no interval, so nothing but "
            f"equality to the bit can be told; run at least {LEAST_SEEDS} (seeds)"
        )
    level = f"{100 * (1 - test.alpha):g} %"
    text = (
        f"{mean} {paired.unit}, one-sided {level} bounds {signed(test.interval.low)} and "
        f"{signed(test.interval.high)} ({over}, {_seeds(test.seeds)}, paired t)"
    )
    if test.negligible:
        return f"{text}: equal but for rounding"
    if test.seeds < LEAST_SEEDS:
        return f"{text}; {test.seeds} seeds are too few, run at least {LEAST_SEEDS}"
    if spec.rule == "merge" and test.status == "undecided":
        needed = test.seeds_needed(spec.margin)
        more = f"about {needed} seeds would" if needed else "not even 10,000 seeds would"
        return f"{text}; a loss of {spec.margin:g} is not ruled out; {more}, four times of five"
    return text


def family_words(family: Family, test: Test, paired: Pairing) -> str:
    """One family's difference, its scores and its p."""
    scores = (
        f"{number(float(family.baseline.mean()), 3)} → {number(float(family.candidate.mean()), 3)}"
    )
    if family.identical:
        return f"identical, bit for bit ({scores})"
    mean = f"{signed(test.interval.mean)} {paired.unit} ({scores}, {_seeds(test.seeds)}"
    if test.adjusted is None:
        return f"{mean}): too few seeds"
    shown = f"a loss is shown below {test.alpha:g}"
    return f"{mean}, p = {test.p:.3g}, after Holm {test.adjusted:.3g}; {shown})"


def capped(spec: GateSpec, decision: Decision) -> str:
    """Which error is capped, and how."""
    share = f"{100 * spec.alpha:g} %"
    if spec.rule == "block":
        how = (
            "half of it for the overall difference, half for the conditions, after Holm"
            if decision.families
            else "one paired t-test"
        )
        return (
            f"Rule block caps the false alarm: a learner that did not change is blocked in at most "
            f"{share} of the cases ({how}). A true loss may pass."
        )
    tested = (
        "; conditions are tested after Holm and can only block more" if decision.families else ""
    )
    return (
        f"Rule merge caps the miss: a true overall loss of {spec.margin:g} or more passes in at "
        f"most {share} of the cases{tested}. A learner that did not change may be held back."
    )


def power_words(test: Test, spec: GateSpec, unit: str) -> str | None:
    """What these seeds could have seen, by the spread they show; None where there is none."""
    if test.negligible or test.seeds < LEAST_SEEDS or test.detectable is None:
        return None
    chance = f"{100 * test.power(spec.margin):.0f} %"
    needed = test.seeds_needed(spec.margin)
    more = f"80 % needs {needed or 'more than 10,000'} seeds"
    does = (
        f"a true loss of {spec.margin:g} is caught in {chance} of the cases"
        if spec.rule == "block"
        else f"an unchanged learner passes in {chance} of the cases"
    )
    rough = "; a spread from so few seeds is a rough guess" if test.seeds < 5 else ""
    return (
        f"Power: {_seeds(test.seeds)}, SD {test.spread:.2g} {unit} of paired differences: {does} "
        f"({more}); a loss of {test.detectable:.2g} in 80 %{rough}."
    )


def signed(value: float) -> str:
    """``+0.012``; zero has no sign."""
    return f"{value:+.4f}" if round(value, 4) else "0"


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _numbers(test: Test) -> Numbers:
    spread = test.spread if test.seeds > 1 else None
    return {
        "difference": test.interval.mean,
        "low": test.interval.low,
        "high": test.interval.high,
        "bound_level": 1 - test.alpha,
        "p": test.p,
        "adjusted_p": test.adjusted,
        "spread": spread,
        "seeds": test.seeds,
    }
