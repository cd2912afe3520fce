"""Runs every property in every setting that a learner's card claims."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metabench.checking.properties import PROPERTIES
from metabench.checking.subject import SETTINGS, Broken, Subject
from metabench.errors import one_line
from metabench.learners.build import LearnerClass, resolve_parameters
from metabench.running.cell import one_thread


@dataclass(frozen=True)
class Result:
    """One property in one setting."""

    setting: str
    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True)
class CheckReport:
    """Every result of one learner."""

    learner: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether every property holds."""
        return all(r.passed for r in self.results)

    def lines(self) -> list[str]:
        """One line a property, then a verdict."""
        lines = [
            f"{'pass' if r.passed else 'FAIL'}  {r.setting:<10}  {r.name}"
            + ("" if r.passed else f": {r.message}")
            for r in self.results
        ]
        broken = sum(not r.passed for r in self.results)
        verdict = "keeps the contract" if self.passed else f"breaks it in {broken} places"
        return [*lines, f"{self.learner}: {len(self.results)} properties checked, {verdict}"]


def check_learner(learner: LearnerClass, device: torch.device) -> CheckReport:
    """Try every property; a learner that raises fails that property, and the others go on."""
    resolve_parameters(learner, {})
    results = []
    with one_thread():
        for setting in SETTINGS:
            if setting.kind not in learner.card.kinds:
                continue
            subject = Subject(learner, setting, device)
            try:
                subject.learner = subject.trained()
            except Exception as error:
                results.append(Result(setting.name, "meta-training", False, one_line(error)))
                continue
            for name, holds in PROPERTIES:
                try:
                    holds(subject)
                except Broken as finding:
                    results.append(Result(setting.name, name, False, str(finding)))
                except Exception as error:
                    results.append(Result(setting.name, name, False, one_line(error)))
                else:
                    results.append(Result(setting.name, name, True))
    return CheckReport(learner.card.name, tuple(results))
