"""The specification of a suite: one question, versioned and fingerprinted."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from metabench import records
from metabench.conditions import INTERVENTIONS
from metabench.episodes import Kind
from metabench.errors import MetabenchError, unknown
from metabench.learners import LEARNERS
from metabench.records import Budget, Parameter
from metabench.rng import BLOCK
from metabench.suite.fields import NAME, Spec, dump_task
from metabench.suite.source import SourceSpec
from metabench.tasks import TaskDistribution

EVERY = "*"


class Preset(Spec):
    """How much is run: meta-seeds, episodes per condition and level, the budget of a cell."""

    seeds: int = Field(gt=0)
    episodes: int = Field(gt=0)
    budget: Budget
    streams: int = Field(default=20, ge=1, description="streams at every rate of drift")
    checkpoints: int = Field(
        default=0,
        ge=0,
        description="meta-training is looked at so often, at steps 1, ..., in "
        "geometric progression, and before the first",
    )
    sources: list[str] = Field(default=[], description="the sources that are run; empty: all")
    points: int = Field(
        default=0,
        ge=0,
        description="settings of every learner's knobs that are run beside the defaults, a power "
        "of two; 0: the defaults alone",
    )
    stop: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="a condition and level costs no more episodes once the 95 % interval of its "
        "accuracy, which may be looked at all along, is this narrow; absent: all episodes",
    )
    parameters: dict[str, dict[str, Parameter]] = Field(
        default={}, description="hyper-parameters by learner; '*' holds for all that have them"
    )


class Suite(Spec):
    """One question, versioned."""

    name: str = Field(pattern=NAME)
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
        served = {s.train.kind for s in self.source if s.ceiling is None}
        if self.ceiling is not None and len(served) > 1:
            raise ValueError("one ceiling cannot serve accuracy and squared error")
        if len({s.name for s in self.source}) < len(self.source):
            raise ValueError("a source name is used twice")
        names = [s.name for s in self.source]
        for preset in self.preset.values():
            if preset.stop is not None and any(
                s.metric != "accuracy"
                for s in self.source
                if not preset.sources or s.name in preset.sources
            ):
                raise ValueError("stop: needs scores within [0, 1]; a source has squared errors")
            if preset.points & (preset.points - 1):
                raise ValueError(f"points: must be a power of two, found {preset.points}")
            for name in preset.sources:
                if name not in names:
                    raise ValueError(unknown("source", name, names))
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of its sources: classification, regression or both."""
        return tuple(sorted({s.train.kind for s in self.source}))

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
                "source": {
                    "__all__": {
                        "title": True,
                        "condition": {"__all__": prose},
                        "stream": {"__all__": prose},
                        "probe": {"__all__": prose},
                        "reference": True,
                    }
                },
            },
        )
        for preset in spec["preset"].values():
            # A suite without a design, or without a rule to stop, is what it was before.
            for field in ("points", "stop"):
                if not preset[field]:
                    del preset[field]
        canonical = json.dumps([spec, BLOCK], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def get_preset(self, name: str) -> Preset:
        """The preset of that name, or an error with the nearest."""
        if name not in self.preset:
            raise MetabenchError(f"suite {self.name}: {unknown('preset', name, self.preset)}")
        return self.preset[name]

    def sources_of(self, preset: str) -> list[SourceSpec]:
        """The sources that a preset runs."""
        chosen = self.get_preset(preset).sources
        return [s for s in self.source if not chosen or s.name in chosen]

    def ceiling_of(self, source: SourceSpec) -> float | None:
        """The declared best value of its metric; None where the Bayes predictor is the oracle."""
        return self.ceiling if source.ceiling is None else source.ceiling

    def protocol(self, source: SourceSpec, preset: str) -> records.Protocol:
        """What tables need to know of the suite."""
        shape, ceiling = source.episode, self.ceiling_of(source)
        what = f"{shape.shot} shot, {shape.query} query"
        if source.train.kind == "classification":
            what = f"{shape.way}-way, {what} a class"
        return records.Protocol(
            suite_title=self.title,
            suite_version=self.version,
            question=self.question,
            source_title=source.title or source.name,
            kind=source.train.kind,
            metric=source.metric,
            episode=what,
            training=_in_words(source.train),
            baselines=[*self.baselines, *source.baselines],
            oracle="bayes" if ceiling is None else "declared",
            ceiling=ceiling,
            floor=source.floor,
            conditions=[
                records.Condition(
                    name=c.name,
                    title=c.title or c.name.replace("-", " "),
                    role=c.known_role,
                    values=c.levels if c.shift else [],
                    unit=INTERVENTIONS.get(c.shift).unit
                    if c.shift and c.shift in INTERVENTIONS
                    else "",
                )
                for c in source.condition
            ]
            + [
                records.Condition(
                    name=c.name,
                    title=c.title or c.name.replace("-", " "),
                    role=c.shift,
                    values=c.levels,
                )
                for c in source.stream
            ],
            probes=source.probe,
            references=source.reference,
            episodes=self.get_preset(preset).episodes,
        )


def _in_words(task: TaskDistribution) -> str:
    fields = dump_task(task)
    name = fields.pop("task")
    return f"{name} ({', '.join(f'{k} = {v}' for k, v in fields.items())})"
