"""submission.toml: what a submission says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metabench.episodes import Kind
from metabench.errors import MetabenchError
from metabench.learners import LEARNERS
from metabench.records import ORACLE, Parameter
from metabench.submission.folder import inside
from metabench.validation import load_toml

FILE = "submission.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Strict):
    """Learned arrays that the learner starts from, handed to its ``load_state_dict``."""

    file: str = Field(pattern=r"\.safetensors$", description="a name inside the folder")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file's bytes")


class Manifest(_Strict):
    """Everything that is declared about a submission; none of it is code."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]{0,63}$")
    version: str = Field(min_length=1, max_length=32)
    authors: list[str] = Field(min_length=1)
    family: Literal["metric", "gradient", "memory", "transfer", "other"]
    kinds: list[Kind] = Field(min_length=1, description="of tasks that it does")
    track: Literal["inductive", "transductive"] = Field(
        description="transductive: predictions may use the other queries of the batch"
    )
    entry: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:Class, the module in the folder or installed",
    )
    parameters: dict[str, Parameter] = Field(default={}, description="hyper-parameters")
    requirements: list[str] = Field(
        default=[], description="packages that have to be installed beside metabench"
    )
    weights: Weights | None = None
    training_data: list[str] = Field(
        description="what the weights and the code were made with beside the suites' "
        "meta-training tasks; empty: nothing"
    )
    citation: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name == ORACLE or self.name in LEARNERS:
            raise ValueError(f"name: {self.name!r} is a shipped learner's; choose another")
        if self.weights is not None and not self.training_data:
            raise ValueError("training_data: weights were made with something; name it")
        return self


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; MetabenchError naming the file and the field."""
    if not folder.is_dir():
        raise MetabenchError(f"{folder}: no folder")
    manifest = load_toml(folder / FILE, Manifest)
    module = manifest.entry.partition(":")[0]
    if manifest.weights is not None:
        inside(folder, manifest.weights.file)
    # An installed package may hold it: the worker will say if none does.
    installed = module.startswith("metabench.") or bool(manifest.requirements)
    if not installed and not _has(folder, module):
        raise MetabenchError(
            f"{folder / FILE}: entry: the folder has no {module.replace('.', '/')}.py; "
            "name a file of it, or the installed package among requirements"
        )
    return manifest


def _has(folder: Path, module: str) -> bool:
    path = folder.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
