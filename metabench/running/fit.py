"""Whether learners have something to do in the suites of a run, before any of it is done."""

from __future__ import annotations

from collections.abc import Iterable

from metabench.episodes import Kind
from metabench.errors import MetabenchError
from metabench.learners.build import LearnerClass
from metabench.learners.contract import LEARNERS
from metabench.records import ORACLE
from metabench.suite import SourceSpec, Suite


def require_fit(
    chosen: list[LearnerClass], suites: list[Suite], preset: str, overrides: Iterable[str]
) -> None:
    """Names are the learners' own, each has something to do, overrides name one of them."""
    sources = [(suite, source) for suite in suites for source in suite.sources_of(preset)]
    names = {learner.card.name for learner in chosen}
    for name in overrides:
        if name not in names:
            raise MetabenchError(
                f"parameters given for {name!r}, which is not among the learners of this run"
            )
    for learner in chosen:
        name = learner.card.name
        if name == ORACLE or (name in LEARNERS and LEARNERS.get(name) is not learner):
            raise MetabenchError(f"learner {name}: the name is taken; give yours another")
        lacking = {lacks(learner, suite, source, preset) for suite, source in sources}
        if "knobs" in lacking and "" not in lacking:
            raise MetabenchError(
                f"learner {name}: declares no knobs, and how much they matter is what is asked"
            )
        if "" not in lacking:
            raise MetabenchError(_unfit(learner, suites, preset))


def _unfit(learner: LearnerClass, suites: list[Suite], preset: str) -> str:
    """What the preset asks for in place of what the learner does, and which presets suit it."""

    def asked(suite: Suite, of: str) -> set[Kind]:
        return {source.train.kind for source in suite.sources_of(of)}

    able, kinds = learner.card.kinds, {kind for suite in suites for kind in asked(suite, preset)}
    text = (
        f"learner {learner.card.name} does {' and '.join(able)}, "
        f"the suites ask for {' and '.join(sorted(kinds))}"
    )
    for suite in suites:
        fitting = [other for other in suite.preset if asked(suite, other) & set(able)]
        if fitting:
            text += f"; suite {suite.name} has {' and '.join(able)} in preset {', '.join(fitting)}"
    return text


def lacks(learner: LearnerClass, suite: Suite, source: SourceSpec, preset: str) -> str:
    """Why a learner cannot do a source; nothing if it can."""
    kind, card = source.train.kind, learner.card
    if kind not in card.kinds:
        return "kind"
    turned = suite.get_preset(preset).points and card.family != "baseline"
    return "knobs" if turned and not card.knobs_of(kind) else ""
