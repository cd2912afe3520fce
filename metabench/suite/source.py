"""A source: a meta-training distribution, and the points that its learners are scored at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from metabench.conditions import INTERVENTIONS, On, Setting
from metabench.errors import MetabenchError, unknown
from metabench.estimators import ESTIMATORS
from metabench.learners import TaskInfo
from metabench.records import IN_DISTRIBUTION, Probe, Reference
from metabench.rng import Address
from metabench.suite.fields import NAME, Spec, Task
from metabench.tasks import Shape, TaskDistribution
from metabench.tasks.base import bounds
from metabench.tasks.drift import StreamSpec
from metabench.tasks.functions import FunctionFamily
from metabench.validation import first_problem

SHAPE_AXES = ("way", "shot")
Inner = Literal["inner-rate", "inner-steps", "precision"]
INNER_AXES: tuple[Inner, ...] = ("inner-rate", "inner-steps", "precision")
"""Of the inner loop: its learning rate and its number of steps, times the level's value; and the
bits of the numbers it computes with (16: bfloat16)."""
Attack = Literal["gradient-attack", "random-attack"]
ATTACKS: tuple[Attack, ...] = ("gradient-attack", "random-attack")
"""Searches for the worst inputs, through adaptation or by trying; the level is the radius."""
EPISODES = "episodes"
"""The shift to other episodes of the same law."""


class ConditionSpec(Spec):
    """One intervention at one or more levels of rising severity.

    ``shift`` names an axis of the task distribution, an intervention on episodes, an axis of the
    inner loop, an attack, "way" or "shot", or "episodes"; level i gives it the value
    ``levels[i - 1]``. ``task`` replaces the distribution.
    """

    name: str = Field(pattern=NAME)
    title: str = ""
    role: str = Field(default="", description="what it is to estimators; by default the shift")
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

    @property
    def known_role(self) -> str:
        """The role, by default the shift."""
        return self.role or self.shift or ""


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
    inner: Inner | None = None
    """The axis of the inner loop that has ``value``."""
    attack: Attack | None = None
    """Of radius ``value``, on what ``on`` says."""
    role: str = ""
    stream: str | None = None
    """Other episodes than those of level 0: the name of their stream."""

    @property
    def plain(self) -> bool:
        """Whether episodes are as drawn and the learner is as trained."""
        return self.intervention is None and self.inner is None and self.attack is None

    def address(self, base: Address) -> Address:
        """Of its episodes; points share them unless they say otherwise."""
        return base if self.stream is None else base.child(self.stream)

    def setting(self, base: Address, indices: Sequence[int] | range) -> Setting:
        """What its intervention is told. Raises ValueError if it has none."""
        if self.intervention is None:
            raise ValueError("a point without an intervention")
        return Setting(
            self.intervention,
            self.value,
            self.on,
            self.distribution,
            self.shape,
            self.address(base),
            indices,
        )


class SourceSpec(Spec):
    """A meta-training distribution and the conditions its learners are scored under."""

    name: str = Field(pattern=NAME)
    title: str = ""
    train: Task
    test: Task | None = Field(default=None, description="in distribution; by default ``train``")
    episode: Shape
    floor: float = Field(default=0.05, gt=0, description="least base-to-oracle gap in risk")
    ceiling: float | None = Field(
        default=None, description="best value of the metric, declared, in place of the oracle's"
    )
    baselines: list[str] = Field(default=[], description="beside those of the suite")
    condition: list[ConditionSpec] = Field(default=[])
    stream: list[StreamSpec] = Field(default=[], description="of ``train``, while it drifts")
    probe: list[Probe] = Field(default=[], description="estimators with thresholds")
    reference: list[Reference] = Field(default=[], description="figures from elsewhere")

    @model_validator(mode="after")
    def _conditions(self) -> Self:
        names = [*(c.name for c in self.condition), *(s.name for s in self.stream)]
        if not names:
            raise ValueError(f"source {self.name!r} needs a condition or a stream")
        if self.stream and not isinstance(self.train, FunctionFamily):
            raise ValueError(f"source {self.name!r}: only function families have streams")
        for probe in self.probe:
            if probe.estimator not in ESTIMATORS:
                raise ValueError(unknown("estimator", probe.estimator, ESTIMATORS))
            if probe.condition not in (None, IN_DISTRIBUTION, *names):
                raise ValueError(
                    f"source {self.name!r}: {unknown('condition', probe.condition, names)}"
                )
        for reference in self.reference:
            if reference.condition not in (IN_DISTRIBUTION, *names):
                raise ValueError(
                    f"source {self.name!r}: {unknown('condition', reference.condition, names)}"
                )
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
            point = Point(
                condition.name,
                level,
                base,
                self.episode,
                value=value,
                on=condition.on,
                role=condition.known_role,
            )
            yield point if condition.shift is None else _moved(point, condition.shift)

    @property
    def metric(self) -> Literal["accuracy", "mse"]:
        """The raw metric of its episode rows."""
        return "accuracy" if self.train.kind == "classification" else "mse"

    def at_seed(self, seed: int) -> SourceSpec:
        """The source of that meta-seed, with its own finite sets of tasks."""
        conditions = [
            c.model_copy(update={"task": c.task.at_seed(seed)}) if c.task else c
            for c in self.condition
        ]
        return SourceSpec.model_validate(
            {
                **{name: getattr(self, name) for name in type(self).model_fields},
                "train": self.train.at_seed(seed),
                "test": self.test and self.test.at_seed(seed),
                "condition": conditions,
            }
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
            point.distribution.check_shape(_needed(point))
        return hashes


def _moved(point: Point, shift: str) -> Point:
    """The point with the shift at its value; raises MetabenchError where that cannot be."""
    base, where = point.distribution, f"condition {point.condition!r}"
    if shift in SHAPE_AXES:
        changed = {**point.shape.model_dump(), shift: int(point.value)}
        try:
            return replace(point, shape=Shape.model_validate(changed))
        except ValidationError as error:
            raise MetabenchError(f"{where}: {first_problem(error, Shape)}") from None
    if shift in base.axes:
        return replace(point, distribution=base.shifted(shift, point.value))
    if shift in INNER_AXES:
        return replace(point, inner=shift)
    if shift in ATTACKS:
        return replace(point, attack=shift)
    if shift == EPISODES:
        return replace(point, stream=f"{point.condition} {point.level}")
    known = [name for name in INTERVENTIONS if base.kind in INTERVENTIONS.get(name).kinds]
    if shift not in known:
        allowed = (*base.axes, *known, *SHAPE_AXES, *INNER_AXES, *ATTACKS, EPISODES)
        raise MetabenchError(f"{where}: {unknown('shift', shift, allowed)}")
    intervention, (way, _) = INTERVENTIONS.get(shift), bounds(point.shape.way)
    if intervention.fixed_way and way != bounds(point.shape.way)[1]:
        raise MetabenchError(f"{where}: {shift!r} needs the same way in every episode")
    if base.kind == "classification" and bounds(point.shape.shot)[0] < intervention.least_shot:
        raise MetabenchError(f"{where}: {shift!r} needs {intervention.least_shot} shots or more")
    point = replace(point, intervention=shift)
    try:
        _needed(point)
    except MetabenchError as error:
        raise MetabenchError(f"{where}: {error}") from None
    return point


def _needed(point: Point) -> Shape:
    """The largest shape of episode that is drawn there."""
    if point.intervention is None:
        return point.shape
    return INTERVENTIONS.get(point.intervention).needed(point.shape, point.value)
