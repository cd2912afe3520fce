"""Turns pydantic's errors into one line: where, what was found, what is allowed."""

from __future__ import annotations

import tomllib
import types
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from metabench.errors import MetabenchError, unknown

Model = TypeVar("Model", bound=BaseModel)


def load_toml(path: Path, model: type[Model]) -> Model:
    """A TOML file as a model; MetabenchError in one line, naming the file and the field."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MetabenchError(f"{path}: not valid TOML: {error}") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise MetabenchError(f"{path}: {first_problem(error, model)}") from None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a validation, naming the field and, for unknown ones, the nearest."""
    # A misspelt field is also a missing one: what was written comes first.
    problem = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = problem["loc"]
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    if problem["type"] == "extra_forbidden":
        parent = _model_at(model, location[:-1])
        allowed = [f.alias or name for name, f in parent.model_fields.items()] if parent else []
        inside = where.rpartition(".")[0]
        return f"{inside or 'top level'}: {unknown('field', location[-1], allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if problem["type"] in ("missing", "value_error") else f", found {problem['input']!r}"
    return f"{where or 'top level'}: {message}{found}"


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that the fields at this location belong to."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {f.alias or name: f for name, f in current.model_fields.items()}
            if part not in fields:
                return None
            current = fields[str(part)].annotation
        current = _unwrap(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _unwrap(annotation: Any) -> Any:
    """list[X], dict[str, X] and X | None -> X."""
    origin = get_origin(annotation)
    if origin in (list, tuple, dict):
        return _unwrap(get_args(annotation)[-1])
    if origin in (Union, types.UnionType):
        return _unwrap(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation
