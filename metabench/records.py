"""Records: what is kept of one cell, typed and versioned.

A cell is learner x suite x source x meta-seed. Its record is JSON; beside it lie its episode rows
as Parquet, the *episode table* from which every number on a board is computed.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL = 2
"""Version of training and scoring: raised when the same cell would give other numbers."""

EPISODE_COLUMNS = (
    "learner",
    "suite",
    "source",
    "seed",
    "checkpoint",
    "condition",
    "level",
    "episode",
    "metric",
    "value",
)
"""The episode table: one row per evaluated episode. ``level`` 0 is in-distribution."""

IN_DISTRIBUTION = "in-distribution"
ORACLE = "oracle"
"""Name of the pseudo-learner whose rows are the Bayes predictor's."""

DIAGNOSTIC = frozenset(
    {
        "other-support",
        "label-permutation",
        "shuffled-labels",
        "empty-support",
        "seen-tasks",
        "no-adaptation",
        "no-adaptation-seen",
        "private",
        "cue-intact",
        "cue-swapped",
        "uncued-intact",
        "uncued-swapped",
    }
)
"""Roles of conditions that ask something of the learner and are no world to do well in."""

Status = Literal["ok", "failed", "timeout", "diverged"]
Parameter = bool | int | float | str | None
Provenance = Literal["claimed", "verified"]
Isolation = Literal["none", "process", "sandbox"]
"""``none``: learner and scorer share a process; ``sandbox``: see ``docs/threat-model.md``."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CellKey(_Model):
    """Everything that identifies a cell and nothing that does not."""

    suite: str
    fingerprint: str
    preset: str
    source: str
    learner: str
    learner_version: str
    learner_digest: str = Field(description="hash of the source, for learners not shipped here")
    parameters: dict[str, Parameter]
    seed: int
    data: dict[str, str] = Field(description="content hash of every data set the cell reads")
    protocol: int = PROTOCOL
    salt: str = Field(
        default="",
        pattern="^([0-9a-f]{64})?$",
        description="commitment of the secret that its episodes were drawn with; empty: public",
    )

    @property
    def id(self) -> str:
        """The record's name: 20 hex digits of the hash of the canonical JSON."""
        content = self.model_dump(exclude=None if self.salt else {"salt"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]


class Usage(_Model):
    """Tasks, examples (support and query items), meta-steps and seconds."""

    tasks: int = 0
    examples: int = 0
    steps: int = 0
    seconds: float = 0.0


class Budget(_Model):
    """What a learner may spend on meta-training; ``seconds`` is a limit for the whole cell."""

    tasks: int = Field(gt=0)
    steps: int = Field(gt=0)
    seconds: float = Field(gt=0)


class Environment(_Model):
    """Where a record was made."""

    metabench: str
    python: str
    torch: str
    numpy: str
    platform: str
    device: str
    threads: int
    commit: str | None = None
    dirty: bool | None = None


class Condition(_Model):
    """A condition as the board needs it: its place in the suite and what its levels mean."""

    name: str
    title: str
    role: str = Field(default="", description="what it is to estimators; several may share one")
    values: list[float] = Field(description="physical value of levels 1, 2, ...")
    unit: str = ""

    @property
    def diagnostic(self) -> bool:
        """Whether skill there says nothing about the learner: only estimators read it."""
        return self.role in DIAGNOSTIC


class Probe(_Model):
    """An estimator with a threshold: what a suite flags.

    A learner is flagged if the one-sided 95 % bound over meta-seeds lies beyond the threshold.
    """

    estimator: str
    threshold: float
    flag: Literal["above", "below"]
    condition: str | None = Field(default=None, description="of the suite; None: every one")
    level: int | None = Field(default=None, description="of that condition; None: every one")
    title: str = ""


class Knob(_Model):
    """A number that somebody has to set by hand, and the prior over what they would set."""

    field: str = Field(description="the hyper-parameter")
    low: float
    high: float
    log: bool = Field(default=False, description="uniform in the logarithm")
    level: int | None = Field(
        default=None,
        description="0: a rate of the inner loop, 1: of meta-training, 2: of the rate of that; "
        "None: a number of steps, tasks or units",
    )
    kinds: tuple[Literal["classification", "regression"], ...] = Field(
        default=("classification", "regression"), description="of task where this prior holds"
    )

    def quantile(self, unit: float) -> float:
        """The value below which lies that share of the prior."""
        if self.log:
            return float(self.low * (self.high / self.low) ** unit)
        return self.low + (self.high - self.low) * unit

    def unit(self, value: float) -> float:
        """The inverse of ``quantile``."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


class Reference(_Model):
    """A figure from elsewhere that results are read beside: people, a published method."""

    name: str
    value: float = Field(description="in the raw metric")
    condition: str = Field(default=IN_DISTRIBUTION, description="of the suite")
    source: str = Field(description="who measured it, and where it is written")


class Protocol(_Model):
    """The part of the suite that estimators and tables need, kept with every record."""

    suite_title: str
    suite_version: int
    question: str
    source_title: str
    kind: Literal["classification", "regression"]
    metric: Literal["accuracy", "mse"]
    episode: str = Field(description="shape of an episode, in words")
    training: str = Field(description="the meta-training distribution, in words")
    baselines: list[str]
    oracle: Literal["bayes", "declared"]
    ceiling: float | None = Field(description="declared best value of the metric, without oracle")
    floor: float = Field(description="least base-to-oracle risk gap of an identifiable cell")
    conditions: list[Condition]
    probes: list[Probe] = []
    references: list[Reference] = []
    episodes: int = Field(description="episodes per condition and level")


class LearnerInfo(_Model):
    """The card of the learner, as the tables show it."""

    family: str
    transductive: bool
    sequential: bool
    meta_trained: bool
    citation: str
    knobs: list[Knob] = Field(default=[], description="what the suite's design varies")
    point: int | None = Field(
        default=None, description="which setting of the design this is; None: the defaults"
    )
    parameters: int | None = Field(
        default=None, ge=0, description="learnable numbers, counted; None: nobody counted"
    )


class Record(_Model):
    """The result of one cell. A failure is a record too."""

    schema_version: Literal[1] = 1
    id: str
    key: CellKey
    status: Status
    error: str | None = None
    learner: LearnerInfo
    protocol: Protocol
    budget: Budget
    used: Usage
    evaluation_seconds: float = 0.0
    training_log: list[tuple[int, float]] = Field(
        default_factory=list, description="(meta-step, meta-loss), thinned to at most 200 points"
    )
    environment: Environment
    provenance: Provenance = "claimed"
    isolation: Isolation = Field(default="none", description="between the learner and the scorer")
    created: str = Field(description="UTC time, ISO 8601")
    rows: int = 0
    rows_sha256: str | None = Field(default=None, description="hash of the Parquet file's bytes")

    @property
    def measured(self) -> bool:
        """Whether it has its result: that a setting of a design diverges is one."""
        return self.status == "ok" or (self.status == "diverged" and self.learner.point is not None)
