"""board.toml: what a leaderboard is about, and its policies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from metabench.validation import load_toml

FILE = "board.toml"


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
    worst: float = Field(default=-1.0, description="skill of a failed cell under that policy")
    sort: Literal["iqm", "mean_rank", "optimality_gap", "worst_suite"] = Field(
        default="iqm", description="the column that orders the table"
    )
    command: str = Field(description="what made the records")


def load_spec(folder: Path | str) -> BoardSpec:
    """The board.toml of a leaderboard's folder; MetabenchError naming the file and the field."""
    return load_toml(Path(folder) / FILE, BoardSpec)
