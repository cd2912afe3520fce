"""What scorer and worker say to each other, and how batches travel.

The scorer asks, the worker answers with one frame of the same sequence number; only while it
meta-trains may a worker ask in between, for tasks. Nothing that a worker says is believed beyond
its shape: labels, salt, addresses, seeds of tasks, clock and budget stay with the scorer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from pydantic import JsonValue
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.learners.contract import TaskInfo
from metabench.tasks.base import Shape


class Ask(IntEnum):
    """Of the scorer."""

    LOAD = 1
    """Import the entry point: -> which optional methods and hyper-parameters the class has."""
    SETUP = 2
    """Construct and set up."""
    ADVANCE = 3
    """One meta-step; the first one begins meta-training."""
    STATE = 4
    """-> arrays by name."""
    RESTORE = 5
    """Load such arrays."""
    ADAPT = 6
    """-> the id of a state that stays with the worker."""
    PREDICT = 7
    """State id and queries -> output."""
    OBSERVE = 8
    """State id and support -> the id of the new state."""
    RETUNE = 9
    """-> the id of a learner with another inner loop."""
    EMBED = 10
    """Inputs -> embeddings."""


class Answer(IntEnum):
    """Of the worker."""

    DONE = 64
    FAILED = 65
    """With the error's type and message."""
    ENDED = 66
    """Meta-training is over: the learner's own end, or the budget's."""
    WANT_TASKS = 67
    WANT_LABELLED = 68
    WANT_CLASSES = 69


class Reply(IntEnum):
    """Of the scorer, to a wish for tasks."""

    GIVEN = 128
    DENIED = 129
    """With the error's type and message."""


OPTIONAL = (
    "meta_fit",
    "observe",
    "retuned",
    "embed_items",
    "adapt_embedded",
    "predict_embedded",
)
"""Methods that a learner may have; what has none of them must not seem to."""


def pack_info(info: TaskInfo) -> dict[str, JsonValue]:
    """As JSON."""
    return {
        "kind": info.kind,
        "input_shape": list(info.input_shape),
        "output_dim": info.output_dim,
        "shape": info.shape.model_dump(mode="json"),
        "max_way": info.max_way,
    }


def unpack_info(data: Mapping[str, JsonValue]) -> TaskInfo:
    """The inverse."""
    values: dict[str, Any] = dict(data)
    values["input_shape"] = tuple(values["input_shape"])
    values["shape"] = Shape.model_validate(values["shape"])
    return TaskInfo(**values)


def pack_support(support: Support) -> dict[str, Tensor]:
    """Arrays by name."""
    return {"x": support.x, "y": support.y, "mask": support.mask, "way": support.way}


def unpack_support(arrays: Mapping[str, Tensor]) -> Support:
    """The inverse."""
    return Support(arrays["x"], arrays["y"], arrays["mask"], arrays["way"])


def pack_query(query: Query) -> dict[str, Tensor]:
    """Arrays by name: a query has no labels."""
    return {"x": query.x, "mask": query.mask}


def unpack_query(arrays: Mapping[str, Tensor]) -> Query:
    """The inverse."""
    return Query(arrays["x"], arrays["mask"])


def pack_episodes(episodes: Episodes) -> dict[str, Tensor]:
    """Meta-training episodes, with their query labels."""
    support = {f"support/{k}": t for k, t in pack_support(episodes.support).items()}
    query = {f"query/{k}": t for k, t in pack_query(episodes.query).items()}
    return {**support, **query, "query_y": episodes.query_y}


def unpack_episodes(arrays: Mapping[str, Tensor]) -> Episodes:
    """The inverse."""

    def part(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(name): t for k, t in arrays.items() if k.startswith(name)}

    return Episodes(
        unpack_support(part("support/")), unpack_query(part("query/")), arrays["query_y"]
    )
