"""The specification of a suite: parse, validate, fingerprint."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from metabench import records
from metabench.conditions import INTERVENTIONS, On
from metabench.episodes import Kind
from metabench.errors import MetabenchError, unknown
from metabench.learners import LEARNERS, TaskInfo
from metabench.records import IN_DISTRIBUTION, Budget, Parameter
from metabench.rng import BLOCK
from metabench.tasks import TASKS, Shape, TaskDistribution
from metabench.tasks.base import bounds
from metabench.validation import first_problem

SHAPE_AXES = ("way", "shot")
EVERY = "*"
_NAME = r"^[a-z0-9][a-z0-9-]*$"


def parse_task(value: object) -> object:
    """{"task": name, parameter: value, ...} -> the distribution."""
    if isinstance(value, TaskDistribution):
        return value
    if not isinstance(value, dict) or "task" not in value:
        raise ValueError(f"a task is a table with a field 'task' (one of {', '.join(TASKS)})")
    parameters = dict(value)
    kind = TASKS.get(parameters.pop("task"))
    try:
        return kind.model_validate(parameters)
    except ValidationError as error:
        raise ValueError(first_problem(error, kind)) from None


def dump_task(task: TaskDistribution) -> dict[str, Any]:
    """The inverse of ``parse_task``, with every parameter spelled out and its version."""
    name = next(n for n in TASKS if TASKS.get(n) is type(task))
    return {"task": name, "version": task.version, **task.model_dump()}


def _known_error(value: object) -> object:
    # Registry look-ups raise MetabenchError, which pydantic would let through without a location.
    try:
        return parse_task(value)
    except MetabenchError as error:
        raise ValueError(str(error)) from None


Task = Annotated[TaskDistribution, BeforeValidator(_known_error), PlainSerializer(dump_task)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class ConditionSpec(_Spec):
    """One intervention at one or more levels of rising severity.

    ``shift`` names an axis of the task distribution, an intervention on images, or "way" or
    "shot"; level i gives it the value ``levels[i - 1]``. ``task`` replaces the distribution.
    """

    name: str = Field(pattern=_NAME)
    title: str = ""
    task: Task | None = None
    shift: str | None = None
    on: On = "query"
    levels: list[float] = Field(default=[1.0], min_length=1)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.task is None and self.shift is None:
            raise ValueError(f"condition {self.name!r} needs 'shift' or 'task'")
        if self.shift is None and len(self.levels) > 1:
            raise ValueError(f"condition {self.name!r} has levels but no 'shift'")
        if self.name == IN_DISTRIBUTION:
            raise ValueError(f"{IN_DISTRIBUTION!r} is level 0 of every condition")
        return self


@dataclass(frozen=True)
class Point:
    """One condition at one level: what is evaluated together."""

    condition: str
    level: int
    distribution: TaskDistribution
    shape: Shape
    intervention: str | None = None
    value: float = 0.0
    on: On = "query"


class SourceSpec(_Spec):
    """A meta-training distribution and the conditions its learners are scored under."""

    name: str = Field(pattern=_NAME)
    title: str = ""
    train: Task
    test: Task | None = Field(default=None, description="in distribution; by default ``train``")
    episode: Shape
    floor: float = Field(default=0.05, gt=0, description="least base-to-oracle gap in risk")
    baselines: list[str] = Field(default=[], description="beside those of the suite")
    condition: list[ConditionSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _conditions(self) -> Self:
        names = [c.name for c in self.condition]
        if len(set(names)) < len(names):
            raise ValueError(f"source {self.name!r}: a condition name is used twice")
        tests = [self.in_distribution, *(c.task for c in self.condition if c.task)]
        if any(t.kind != self.train.kind for t in tests):
            raise ValueError(f"source {self.name!r} mixes classification and regression")
        if (self.train.kind == "classification") != (bounds(self.episode.way)[0] >= 2):
            raise ValueError(f"source {self.name!r}: classification needs way >= 2, regression 0")
        try:
            list(self.points)
        except MetabenchError as error:
            raise ValueError(f"source {self.name!r}: {error}") from None
        return self

    @property
    def in_distribution(self) -> TaskDistribution:
        """The test distribution of level 0."""
        return self.test or self.train

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Level 0, then every condition at every level."""
        start = Point(IN_DISTRIBUTION, 0, self.in_distribution, self.episode)
        return (start, *(p for c in self.condition for p in self._levels(c)))

    def _levels(self, condition: ConditionSpec) -> Iterator[Point]:
        base = condition.task or self.in_distribution
        for level, value in enumerate(condition.levels, start=1):
            distribution, shape, intervention = base, self.episode, None
            if condition.shift in SHAPE_AXES:
                changed = {**shape.model_dump(), condition.shift: int(value)}
                try:
                    shape = Shape.model_validate(changed)
                except ValidationError as error:
                    problem = first_problem(error, Shape)
                    raise MetabenchError(f"condition {condition.name!r}: {problem}") from None
            elif condition.shift is not None and condition.shift in base.axes:
                distribution = base.shifted(condition.shift, value)
            elif condition.shift in INTERVENTIONS and base.kind == "classification":
                intervention = condition.shift
            elif condition.shift is not None:
                images = INTERVENTIONS if base.kind == "classification" else ()
                allowed = (*base.axes, *images, *SHAPE_AXES)
                raise MetabenchError(
                    f"condition {condition.name!r}: {unknown('shift', condition.shift, allowed)}"
                )
            yield Point(
                condition.name, level, distribution, shape, intervention, value, condition.on
            )

    @cached_property
    def info(self) -> TaskInfo:
        """What a learner is told before it sees a task."""
        return TaskInfo(
            kind=self.train.kind,
            input_shape=self.train.input_shape,
            output_dim=self.train.output_dim,
            shape=self.episode,
            max_way=max(bounds(p.shape.way)[1] for p in self.points),
        )

    def prepare(self) -> dict[str, str]:
        """Load every data set, check that all episodes can be drawn; data set -> hash."""
        hashes: dict[str, str] = {}
        for distribution in (self.train, *(p.distribution for p in self.points)):
            hashes |= distribution.prepare()
        self.train.check_shape(self.episode)
        for point in self.points:
            point.distribution.check_shape(point.shape)
        return hashes


class Preset(_Spec):
    """How much is run: meta-seeds, episodes per condition and level, the budget of a cell."""

    seeds: int = Field(gt=0)
    episodes: int = Field(gt=0)
    budget: Budget
    parameters: dict[str, dict[str, Parameter]] = Field(
        default={}, description="hyper-parameters by learner; '*' holds for all that have them"
    )


class Suite(_Spec):
    """One question, versioned."""

    name: str = Field(pattern=_NAME)
    version: int = Field(gt=0)
    title: str
    question: str
    baselines: list[str] = Field(min_length=1)
    oracle: Literal["bayes", "declared"]
    ceiling: float | None = Field(default=None, description="best value of the metric, declared")
    source: list[SourceSpec] = Field(min_length=1)
    preset: dict[str, Preset] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.oracle == "declared") != (self.ceiling is not None):
            raise ValueError("'ceiling' goes with oracle = \"declared\", and only with it")
        for name in [*self.baselines, *(b for s in self.source for b in s.baselines)]:
            if name not in LEARNERS:
                raise ValueError(unknown("baseline", name, LEARNERS))
        if len({s.train.kind for s in self.source}) > 1:
            raise ValueError("a suite is classification or regression, not both")
        if len({s.name for s in self.source}) < len(self.source):
            raise ValueError("a source name is used twice")
        return self

    @property
    def kind(self) -> Kind:
        """Classification or regression."""
        return self.source[0].train.kind

    @property
    def metric(self) -> Literal["accuracy", "mse"]:
        """The raw metric of its episode rows."""
        return "accuracy" if self.kind == "classification" else "mse"

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the hash of all that decides a number: the spec without its prose.

        Covers the parameters and generator versions of every task; data sets are hashed by their
        content in each record.
        """
        prose = {"title", "question"}
        spec = self.model_dump(
            mode="json",
            exclude={
                "title": True,
                "question": True,
                "source": {"__all__": {"title": True, "condition": {"__all__": prose}}},
            },
        )
        canonical = json.dumps([spec, BLOCK], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def get_preset(self, name: str) -> Preset:
        """The preset of that name, or an error with the nearest."""
        if name not in self.preset:
            raise MetabenchError(f"suite {self.name}: {unknown('preset', name, self.preset)}")
        return self.preset[name]

    def protocol(self, source: SourceSpec, preset: str) -> records.Protocol:
        """What tables need to know of the suite."""
        shape = source.episode
        what = f"{shape.shot} shot, {shape.query} query"
        what = f"{shape.way}-way, {what} a class" if self.kind == "classification" else what
        return records.Protocol(
            suite_title=self.title,
            suite_version=self.version,
            question=self.question,
            source_title=source.title or source.name,
            kind=self.kind,
            metric=self.metric,
            episode=what,
            training=_in_words(source.train),
            baselines=[*self.baselines, *source.baselines],
            oracle=self.oracle,
            ceiling=self.ceiling,
            floor=source.floor,
            conditions=[
                records.Condition(
                    name=c.name,
                    title=c.title or c.name.replace("-", " "),
                    values=c.levels if c.shift else [],
                    unit=INTERVENTIONS.get(c.shift).unit
                    if c.shift and c.shift in INTERVENTIONS
                    else "",
                )
                for c in source.condition
            ],
            episodes=self.get_preset(preset).episodes,
        )


def _in_words(task: TaskDistribution) -> str:
    fields = dump_task(task)
    name = fields.pop("task")
    return f"{name} ({', '.join(f'{k} = {v}' for k, v in fields.items())})"


def suites_folder() -> Path:
    """Where the shipped suites lie: in an installed package, or in a checkout beside it."""
    package = Path(__file__).resolve().parent
    installed = package / "_suites"
    return installed if installed.is_dir() else package.parent / "suites"


def suite_names() -> list[str]:
    """Every shipped suite."""
    return sorted(p.parent.name for p in suites_folder().glob("*/suite.toml"))


def load_suite(name_or_path: str | Path) -> Suite:
    """A shipped suite by name, or one's own by the path of its folder or TOML file."""
    given = Path(name_or_path)
    if str(name_or_path) in suite_names():
        path = suites_folder() / str(name_or_path) / "suite.toml"
    elif given.is_dir():
        path = given / "suite.toml"
    elif given.suffix == ".toml":
        path = given
    else:
        raise MetabenchError(unknown("suite", name_or_path, suite_names()))
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MetabenchError(f"{path}: not valid TOML: {error}") from None
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise MetabenchError(f"{path}: {first_problem(error, Suite)}") from None
