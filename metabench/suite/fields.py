"""Fields that suites are made of: tasks by name, and the strict base of every table."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from metabench.errors import MetabenchError
from metabench.tasks import TASKS, TaskDistribution
from metabench.validation import first_problem

NAME = r"^[a-z0-9][a-z0-9-]*$"


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


class Spec(BaseModel):
    """A table of a suite: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))
