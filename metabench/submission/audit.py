"""Whether a submission predicts by what the contract gives it, checked where it can't know.

At moments drawn at random a prediction is asked for a second time: in another worker, which has
met none of the episodes before, from the state the learner was in before meta-test, for half of
the queries in another order. Whoever remembered earlier episodes, used the other queries of the
batch or drew random numbers of its own predicts otherwise there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from metabench.episodes import Query, Support
from metabench.errors import ContractError
from metabench.scoring import same

if TYPE_CHECKING:
    from metabench.submission.remote import Contained

FIRST, EVERY = 8, 32
"""One call among the first so many is repeated, then one in each further so many."""


@dataclass
class Schedule:
    """At which calls to look: one drawn at random from every block of calls."""

    random: random.Random = field(default_factory=random.SystemRandom)
    left: int = 0
    """Calls until the block ends."""
    due: int = -1
    """Calls left at the one that is repeated."""
    blocks: int = 0

    def now(self) -> bool:
        """Whether this call is one."""
        if self.left == 0:
            self.left = EVERY if self.blocks else FIRST
            self.due = self.random.randint(1, self.left)
            self.blocks += 1
        self.left -= 1
        return self.left + 1 == self.due


@dataclass(frozen=True)
class Origin:
    """How a state came about, so that it can again."""

    support: Support
    factors: tuple[tuple[float, float], ...]
    """(rate, steps) of every change to the inner loop."""
    embedded: bool


@dataclass
class Auditor:
    """A second worker with the learner as it was before meta-test."""

    start: Callable[[], Contained]
    """Makes and sets up an instance."""
    snapshot: Mapping[str, Tensor]
    transductive: bool
    schedule: Schedule = field(default_factory=Schedule)
    copies: dict[tuple[tuple[float, float], ...], Contained] = field(default_factory=dict)

    def look(self, origin: Origin, query: Query, output: Tensor) -> None:
        """If it is time, raise ContractError unless the output [T, Q, *] comes again."""
        if not self.schedule.now():
            return
        count = query.mask.shape[1]
        chosen = list(range(count))
        if not self.transductive and count > 1:
            chosen = self.schedule.random.sample(chosen, count // 2)
        asked = Query(query.x[:, chosen], query.mask[:, chosen])
        learner = self.copy(origin.factors)
        # Not by way of predict, which is itself audited.
        state = learner.adapted(origin.support, embedded=origin.embedded)
        again = learner.predicted(state, asked, embedded=origin.embedded)
        fits = output.ndim == 3 and output.shape[:2] == query.mask.shape
        if not fits or again.shape[:2] != asked.mask.shape:
            return  # for the scorer to say
        if not same(output[:, chosen][asked.mask], again[asked.mask]):
            raise ContractError(
                f"{learner.card.name}: predictions change with what else the process has met: "
                "other queries, earlier episodes, random numbers of its own, or what state_dict "
                "does not hold"
            )

    def copy(self, factors: tuple[tuple[float, float], ...]) -> Contained:
        """The learner with that inner loop."""
        if factors in self.copies:
            return self.copies[factors]
        if not factors:
            made = self.start()
            made.load_state_dict(self.snapshot)
        else:
            changed = getattr(self.copy(factors[:-1]), "retuned")  # noqa: B009 - some have it
            made = changed(*factors[-1])
        self.copies[factors] = made
        return made
