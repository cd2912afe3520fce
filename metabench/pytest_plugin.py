"""Pytest: every probe and condition of a suite is a test of a learner.

    pytest --metabench my_package:MyLearner --metabench-suite ood-functions --metabench-seeds 3

or, in a test file,

    @pytest.mark.metabench(learner="my_package:MyLearner", suite="ood-functions", seeds=3)
    def test_it_is_robust(): ...

Nothing heavy is imported until one of them is used: this module loads with every pytest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from metabench.estimators import Panel
    from metabench.gate import Check
    from metabench.records import Probe

MARKER = "metabench(learner, suite, preset='smoke', seeds=None): hold a learner to suites' probes"
FIELDS = ("learner", "suite", "preset", "seeds")


@dataclass(frozen=True)
class Ask:
    """Which cells are run."""

    learner: str
    suites: tuple[str, ...]
    preset: str
    seeds: int | None


@dataclass(frozen=True)
class Question:
    """One test: a probe of a suite's source, or a condition where harm is looked for."""

    ask: Ask
    suite: str
    source: str
    probe: Probe | None
    condition: str

    @property
    def place(self) -> str:
        """Suite and source."""
        return f"{self.suite}/{self.source}"

    @property
    def name(self) -> str:
        """The probe with its condition and level, or the condition."""
        if self.probe is None:
            return self.condition
        parts = (self.probe.estimator, self.probe.condition, self.probe.level)
        return "-".join(str(part) for part in parts if part is not None)


class Unsound(Exception):
    """What a question was answered with; shown as it is, without a traceback."""


RESULTS = pytest.StashKey[dict[Ask, "tuple[list[Panel], str]"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run without test files."""
    group = parser.getgroup("metabench", "a meta-learner held to suites of metabench")
    group.addoption("--metabench", metavar="LEARNER", help="module:Class, file.py:Class or a name")
    group.addoption(
        "--metabench-suite",
        metavar="SUITE",
        action="append",
        default=[],
        help="names or paths; comma-separated or repeated; by default ood-functions",
    )
    group.addoption("--metabench-preset", metavar="PRESET", default="smoke", help="default: smoke")
    group.addoption(
        "--metabench-seeds", metavar="N", type=int, help="meta-seeds; by default the preset's"
    )
    group.addoption(
        "--metabench-workers",
        metavar="N",
        type=int,
        help="cells side by side, each in a process; 0: in pytest's own; by default one a core",
    )
    group.addoption(
        "--metabench-runs",
        metavar="DIR",
        default=".metabench",
        help="where cells are kept, below the root folder; default: .metabench",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)
    config.stash[RESULTS] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the tests that --metabench asks for; -k and -m choose among them like any others."""
    learner = config.getoption("metabench")
    if learner is None:
        return
    given = config.getoption("metabench_suite") or ["ood-functions"]
    suites = [name.strip() for value in given for name in value.split(",") if name.strip()]
    seeds = config.getoption("metabench_seeds")
    ask = Ask(learner, tuple(suites), config.getoption("metabench_preset"), seeds)
    try:
        asked = list(questions(ask, config))
    except Exception as error:
        raise pytest.UsageError(f"--metabench: {_told(error)}") from None
    parents: dict[str, Place] = {}
    for question in asked:
        place = question.place
        if place not in parents:
            parents[place] = Place.from_parent(session, name=place, nodeid=place)
        items.append(Answer.from_parent(parents[place], name=question.name, question=question))


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """A marked function becomes one test a question; its body runs after each that passes."""
    if not inspect.isfunction(obj):
        return None
    marks = [m for m in getattr(obj, "pytestmark", []) if m.name == "metabench"]
    if not marks or not collector.istestfunction(obj, name):
        return None
    if not isinstance(collector, pytest.Module):
        raise collector.CollectError(f"{name}: the metabench marker is for functions, not methods")
    try:
        asked = list(questions(_ask_of(marks[-1]), collector.config))
    except Exception as error:
        raise collector.CollectError(f"{name}: metabench marker: {_told(error)}") from None
    items: list[pytest.Item] = []
    for question in asked:
        title = f"{name}[{question.place}::{question.name}]"
        item = Answer.from_parent(collector, name=title, question=question, body=obj)
        item.own_markers.extend(getattr(obj, "pytestmark", []))
        items.append(item)
    return items


def _ask_of(mark: pytest.Mark) -> Ask:
    from metabench.errors import MetabenchError, unknown

    for field in mark.kwargs:
        if field not in FIELDS:
            raise MetabenchError(unknown("argument", field, FIELDS))
    if mark.args:
        raise MetabenchError("takes its arguments by name: learner=..., suite=...")
    if missing := [field for field in FIELDS[:2] if field not in mark.kwargs]:
        raise MetabenchError(f"{missing[0]}: is missing")
    learner, suite = mark.kwargs["learner"], mark.kwargs["suite"]
    if isinstance(learner, type):
        learner = f"{learner.__module__}:{learner.__qualname__}"
    suites = (suite,) if isinstance(suite, str) else tuple(suite)
    return Ask(learner, suites, mark.kwargs.get("preset", "smoke"), mark.kwargs.get("seeds"))


def questions(ask: Ask, config: pytest.Config) -> Iterator[Question]:
    """Every probe, then every condition, of the sources that the learner can do."""
    from metabench.gate.probes import judged_conditions
    from metabench.learners.build import find_learner
    from metabench.running.plan import plan
    from metabench.suite import load_suite

    one = _guarded(ask, config)
    kinds = find_learner(one.reference).card.kinds
    plan([one.reference], list(one.suites), ask.preset, ask.seeds)  # what is wrong is told here
    for name in one.suites:
        suite = load_suite(name)
        for source in suite.sources_of(ask.preset):
            if source.train.kind in kinds:
                protocol = suite.protocol(source, ask.preset)
                for probe in protocol.probes:
                    yield Question(ask, suite.name, source.name, probe, "")
                streams = {stream.name for stream in source.stream}
                for condition in judged_conditions(protocol):
                    if condition in streams:
                        continue
                    yield Question(ask, suite.name, source.name, None, condition)


def _guarded(ask: Ask, config: pytest.Config) -> Any:
    from metabench import guard

    root = config.rootpath
    return guard.guarded(ask.learner, ask.suites, _runs(config), root)


def _runs(config: pytest.Config) -> Path:
    return config.rootpath / str(config.getoption("metabench_runs"))


def answers(ask: Ask, config: pytest.Config) -> tuple[list[Panel], str]:
    """The panels of the finished cells, and the learner's name.

    Whoever asks first runs them; other workers wait for it, and then find them finished.
    """
    from filelock import FileLock

    from metabench import guard
    from metabench.estimators import panels

    known = config.stash[RESULTS]
    if ask not in known:
        one, runs = _guarded(ask, config), _runs(config)
        runs.mkdir(parents=True, exist_ok=True)
        earlier = [p for p in sorted(runs.glob("*")) if p.is_dir() and p != one.folder]
        workers = config.getoption("metabench_workers")
        with FileLock(runs / ".pytest.lock"):
            results = guard.run(
                one, ask.preset, ask.seeds, earlier=earlier, workers=workers, retry=False
            )
        known[ask] = panels(results.records, results.episodes), one.name
    return known[ask]


def answer(question: Question, panels: Sequence[Panel], learner: str) -> Check:
    """The check that a question comes to; the worst, where a probe looks at several places."""
    from metabench.gate.probes import failed_cells, harm_checks, probe_checks, together

    (panel,) = [p for p in panels if f"{p.suite}/{p.source}" == question.place]
    (cells,) = failed_cells(panel, learner)
    if cells.status != "pass":
        return cells
    if question.probe is None:
        return next(c for c in harm_checks(panel, learner) if c.name == question.condition)
    return together(probe_checks(panel, learner, question.probe), question.name)


class Place(pytest.Collector):
    """A suite's source."""

    def collect(self) -> list[pytest.Item]:
        """Its tests are made where it is."""
        return []


class Answer(pytest.Item):
    """One question, asked when the test runs."""

    def __init__(
        self, *, question: Question, body: Callable[..., object] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.question, self.body = question, body

    def runtest(self) -> None:
        """Pass, fail with the evidence, or skip where nothing can be decided."""
        panels, learner = answers(self.question.ask, self.config)
        check = answer(self.question, panels, learner)
        self.user_properties.append(("evidence", check.evidence))
        if check.status in ("undecided", "skipped"):
            word = "can't decide" if check.status == "undecided" else "not applicable"
            pytest.skip(f"{word}: {check.evidence}")
        if check.status != "pass":
            word = "flagged" if check.status == "regression" else check.status
            raise Unsound(f"{learner} is {word} on {check.place}: {check.name}\n{check.evidence}")
        if self.body is not None:
            self.body(*([check] if inspect.signature(self.body).parameters else []))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Evidence and mistakes as they are; a traceback for what nobody foresaw."""
        from metabench.errors import MetabenchError

        if isinstance(excinfo.value, Unsound | MetabenchError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is."""
        line = None if self.body is None else self.body.__code__.co_firstlineno - 1
        return self.path, line, self.name


def _told(error: Exception) -> str:
    from metabench.errors import one_line

    return one_line(error)
