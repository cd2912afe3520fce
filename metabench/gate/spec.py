"""metabench.toml: what a repository asks of its learner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metabench.errors import MetabenchError
from metabench.gate.decision import Policy, Rule
from metabench.records import Parameter
from metabench.validation import first_problem, load_toml

FILE = "metabench.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Where(_Strict):
    suite: str | None = Field(default=None, description="absent: every one")
    source: str | None = Field(default=None, description="absent: every one")
    condition: str | None = Field(default=None, description="absent: every one that has it")


class Skill(_Where):
    """Skill must be shown to be at least this."""

    at_least: float
    level: int | None = Field(default=None, ge=0, description="absent: every one")


class BreakEvenLevel(_Where):
    """The level at which skill meets zero must be shown to be at least this."""

    at_least: float = Field(gt=0)


class Gap(_Where):
    """Risk beyond that in distribution must be shown to be at most this."""

    at_most: float
    level: int | None = Field(default=None, ge=1, description="absent: every one")


class GateSpec(_Strict):
    """The [gate] table."""

    baseline: str | None = Field(
        default=None, description="a run folder or a leaderboard; absent: absolute limits alone"
    )
    against: str | None = Field(
        default=None, description="the learner of the baseline; absent: of the same name"
    )
    on: Literal["auto", "accuracy", "skill"] = Field(
        default="auto", description="auto: accuracy where every source has it, else skill"
    )
    rule: Rule = "block"
    margin: float = Field(default=0.01, gt=0, description="the loss that matters, in that unit")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="of the error that is capped")
    failures: Literal["none"] = Field(default="none", description="a failed cell never passes")
    undecided: Literal["fail", "allow"] = Field(
        default="fail", description="whether what cannot be decided exits with 2"
    )
    probes: Literal["no-flag", "ignore"] = "no-flag"
    skill: list[Skill] = []
    break_even: list[BreakEvenLevel] = []
    gap: list[Gap] = []

    @property
    def policy(self) -> Policy:
        """How a difference is judged."""
        return Policy(self.rule, self.margin, self.alpha)


class Config(_Strict):
    """A whole metabench.toml; paths are relative to its folder."""

    learner: str = Field(description="a name, module:Class or file.py:Class")
    suites: list[str] = Field(min_length=1, description="names, or paths of one's own")
    preset: str = "smoke"
    seeds: int | None = Field(default=None, ge=1, description="absent: the preset's number")
    parameters: dict[str, Parameter] = Field(default={}, description="of the learner")
    check: bool = Field(default=True, description="whether the contract is checked first")
    runs: str = Field(default=".metabench", description="folder for runs and reports")
    data_root: str | None = Field(default=None, description="folder with data sets as Parquet")
    workers: int | None = Field(default=None, ge=0, description="cells side by side")
    gate: GateSpec = GateSpec()


def given(config: Config | None, asked: Mapping[str, object]) -> GateSpec:
    """The [gate] table with what the command line overrules; MetabenchError names the field."""
    base = {} if config is None else config.gate.model_dump()
    changes = {name: value for name, value in asked.items() if value is not None}
    try:
        return GateSpec.model_validate({**base, **changes})
    except ValidationError as error:
        raise MetabenchError(f"--{first_problem(error, GateSpec)}") from None


def load_config(path: Path) -> Config:
    """A metabench.toml; MetabenchError in one line that names the file and the field."""
    if not path.is_file():
        raise MetabenchError(f"{path}: no such file; docs/ci.md shows one")
    return load_toml(path, Config)
