"""The rules of the gate: pure functions of paired differences, one a meta-seed.

A difference is candidate minus baseline, so that a loss is negative. Families are conditions of a
suite's source; the overall difference is their mean.

``block`` (rule S) caps the false alarm: an unchanged learner is blocked with probability alpha at
most. ``merge`` (rule N) caps the miss: a true overall loss of the margin passes with probability
alpha at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metabench.statistics import Interval, detectable, holm, one_sided_p, seeds_needed, t_interval
from metabench.statistics.power import POWER, power

Array = NDArray[np.float64]
Rule = Literal["block", "merge"]
Status = Literal["pass", "regression", "undecided", "broken", "skipped"]

LEAST_SEEDS = 3
"""Of two, Student's distribution has one degree of freedom: its bounds say nothing of use."""
NEGLIGIBLE = 1e-6
"""A loss smaller than this is how another machine rounds, however surely it is there."""


@dataclass(frozen=True)
class Policy:
    """Which error is capped, at what, and which loss matters."""

    rule: Rule = "block"
    margin: float = 0.01
    alpha: float = 0.05


@dataclass(frozen=True)
class Test:
    """One difference and what was concluded from it."""

    interval: Interval
    """``low`` and ``high`` are one-sided bounds, each at ``level``."""
    alpha: float
    """Of the one-sided test; 1 - alpha is the level of each bound."""
    spread: float
    """Standard deviation of the seeds' differences."""
    p: float | None
    """One-sided, against no loss; None with one seed."""
    adjusted: float | None
    """After Holm over the families; None for the overall difference and with one seed."""
    status: Status

    @property
    def seeds(self) -> int:
        """How many differences there are."""
        return self.interval.seeds

    @property
    def identical(self) -> bool:
        """Whether no seed differs."""
        return self.spread == 0 and self.interval.mean == 0

    @property
    def negligible(self) -> bool:
        """Whether what differs is how machines round."""
        return abs(self.interval.mean) < NEGLIGIBLE and self.spread < NEGLIGIBLE

    @property
    def detectable(self) -> float | None:
        """The loss that these seeds find with 80 % power."""
        # A one-sided test at alpha is the loss's side of a two-sided one at twice that.
        return detectable(self.spread, self.seeds, alpha=2 * self.alpha)

    def power(self, loss: float) -> float:
        """The chance to find a true loss of that size, were the spread the one seen."""
        return power(loss, self.spread, self.seeds, 2 * self.alpha)

    def seeds_needed(self, loss: float) -> int | None:
        """The seeds that find it with 80 % power."""
        return seeds_needed(loss, self.spread, POWER, 2 * self.alpha)


@dataclass(frozen=True)
class Decision:
    """What a policy concludes: from the overall difference, and from each family."""

    overall: Test
    families: tuple[Test, ...]
    """None are tested apart where there is one alone: it is the overall difference."""

    @property
    def status(self) -> Status:
        """A regression anywhere is one; else what the overall difference says."""
        found = {test.status for test in (self.overall, *self.families)}
        return "regression" if "regression" in found else self.overall.status


def decide(overall: Array, families: Sequence[Array], policy: Policy) -> Decision:
    """Apply a policy to per-seed differences; raises ValueError without any, or with NaN.

    Several families are tested for a loss after Holm (1979). Under ``block`` they share alpha with
    the overall difference, half each, so that both together raise a false alarm with probability
    alpha at most. Under ``merge`` the overall difference has all of alpha: families can only block
    more, so the miss stays capped.
    """
    several = len(families) > 1
    alpha = policy.alpha / 2 if several and policy.rule == "block" else policy.alpha
    whole = _test(overall, alpha)
    if not several:
        return Decision(_judged(whole, policy), ())
    tests = [_test(d, alpha) for d in families]
    known = [t.p if t.p is not None and t.seeds >= LEAST_SEEDS else np.nan for t in tests]
    judged = []
    for test, adjusted in zip(tests, holm(known), strict=True):
        p = None if np.isnan(adjusted) else float(adjusted)
        judged.append(_with(test, _loss(test, p, alpha), p))
    return Decision(_judged(whole, policy), tuple(judged))


def _test(differences: Array, alpha: float) -> Test:
    d = np.asarray(differences, dtype=np.float64)
    interval = t_interval(d.tolist(), 1 - 2 * alpha)
    if len(d) == 1:
        return Test(interval, alpha, 0.0, None, None, "undecided")
    spread = float(d.std(ddof=1))
    p = one_sided_p(d.tolist(), 0.0, above=False)
    return Test(interval, alpha, spread, p, None, "undecided")


def _judged(test: Test, policy: Policy) -> Test:
    loss = _loss(test, test.p, test.alpha)
    if policy.rule == "block" or loss == "undecided" or test.negligible:
        return _with(test, loss, None)
    low = test.interval.low
    if low is not None and low > -policy.margin:
        return _with(test, "pass", None)
    return _with(test, "regression" if loss == "regression" else "undecided", None)


def _loss(test: Test, p: float | None, alpha: float) -> Status:
    """Rule S: a loss that is shown is a regression; nothing is shown by too few seeds."""
    if test.negligible:
        return "pass"
    if test.seeds < LEAST_SEEDS or p is None:
        return "undecided"
    return "regression" if p < alpha else "pass"


def _with(test: Test, status: Status, adjusted: float | None) -> Test:
    return replace(test, status=status, adjusted=adjusted)
