"""board.toml: what a leaderboard is about, and its policies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metabench.errors import MetabenchError
from metabench.records import Isolation
from metabench.salt import commitment, mixed, parse_salt
from metabench.validation import load_toml

FILE = "board.toml"


class Private(BaseModel):
    """The private episodes of one release: what is committed to, and what was revealed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: str = Field(
        default="", description="its name, which the draw of the hidden depends on"
    )
    commitment: str = Field(
        default="", pattern="^([0-9a-f]{64})?$", description="SHA-256 of the secret"
    )
    opened: str = Field(default="", description="when it was written here")
    pool: list[str] = Field(
        default=[], description='candidates to be hidden, each "suite/source condition"'
    )
    hidden: int = Field(default=0, ge=0, description="how many of them count in this release")
    secret: str | None = Field(default=None, description="once it is revealed, in hexadecimal")
    revealed: str | None = Field(default=None, description="when that was")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hidden > len(self.pool) or len(set(self.pool)) < len(self.pool):
            raise ValueError("'hidden' counts different conditions of the pool")
        if self.secret is not None:
            try:
                known = commitment(parse_salt(self.secret, "secret"))
            except MetabenchError as error:
                raise ValueError(str(error)) from None
            if known != self.commitment:
                raise ValueError("the secret does not hash to the commitment")
        return self

    def drawn(self, secret: bytes | None = None) -> tuple[str, ...]:
        """The hidden conditions of the release: with the secret, or once it is revealed."""
        if secret is None and self.secret is not None:
            secret = parse_salt(self.secret, "secret")
        if secret is None:
            return ()
        order = {name: mixed(secret, "hidden", self.release, name) for name in self.pool}
        return tuple(sorted(sorted(self.pool, key=order.__getitem__)[: self.hidden]))

    def left_out(self, secret: bytes | None = None) -> frozenset[str]:
        """Conditions of the pool that do not count; all of them for whoever has no secret.

        To leave out the hidden ones alone would tell which they are.
        """
        return frozenset(self.pool) - set(self.drawn(secret))


class BoardSpec(BaseModel):
    """Everything about a leaderboard that is decided and not measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    question: str = ""
    suites: list[str] = Field(min_length=1, description="every entrant is scored on all of them")
    preset: str
    least_seeds: int = Field(default=3, ge=2, description="below, an entrant is unranked")
    failed: Literal["unranked", "worst"] = Field(
        default="unranked",
        description="what a cell that failed does: its learner gets no rank, or ``worst`` there",
    )
    isolation: Isolation = Field(
        default="none",
        description="the least that has to stand between a learner that is not shipped and the "
        "scorer (docs/threat-model.md)",
    )
    worst: float = Field(
        default=-1.0,
        description="skill of a failed cell under that policy, and the least that any counts",
    )
    sort: Literal["iqm", "mean_rank", "optimality_gap", "worst_suite"] = Field(
        default="iqm", description="the column that orders the table"
    )
    gap_margin: float = Field(
        default=0.05,
        ge=0,
        description="skill that public episodes may exceed private ones by, before it is flagged",
    )
    command: str = Field(description="what made the records")
    private: Private = Private()


def load_spec(folder: Path | str) -> BoardSpec:
    """The board.toml of a leaderboard's folder; MetabenchError naming the file and the field."""
    return load_toml(Path(folder) / FILE, BoardSpec)
