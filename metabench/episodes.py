"""Episodes: batched tensors and their invariants.

Everything is batched over tasks. T tasks, S support items, Q query items, X the shape of one
input, D output dimensions. Variable way and shot are padding plus mask.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from metabench.errors import ContractError

Kind = Literal["classification", "regression"]


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)


def _shape(t: Tensor) -> list[int]:
    return list(t.shape)


@dataclass(frozen=True, slots=True)
class Support:
    """What a learner adapts to.

    x [T, S, *X] float; y [T, S] int64 class ids in 0..way-1, or [T, S, D] float targets;
    mask [T, S] bool, False where padded; way [T] int64, classes per task (0 in regression).
    The order of the items is the order in which a sequential learner meets them.
    """

    x: Tensor
    y: Tensor
    mask: Tensor
    way: Tensor

    def __post_init__(self) -> None:
        _need(self.x.ndim >= 3, f"support.x must be [T, S, *X], found {_shape(self.x)}")
        lead = self.x.shape[:2]
        _need(self.mask.shape == lead and self.mask.dtype == torch.bool, "support.mask: bool [T,S]")
        _need(self.y.shape[:2] == lead, f"support.y must start with {list(lead)}")
        _need(self.way.shape == lead[:1], "support.way must be [T]")

    @property
    def kind(self) -> Kind:
        """Regression targets have an axis more than class ids."""
        return "classification" if self.y.ndim == 2 else "regression"

    @property
    def tasks(self) -> int:
        """T."""
        return self.x.shape[0]

    @property
    def max_way(self) -> int:
        """The largest number of classes of any task in the batch."""
        return int(self.way.max())


@dataclass(frozen=True, slots=True)
class Query:
    """What a learner predicts: x [T, Q, *X], mask [T, Q]. There is no label field, anywhere."""

    x: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        _need(self.x.ndim >= 3, f"query.x must be [T, Q, *X], found {_shape(self.x)}")
        _need(self.mask.shape == self.x.shape[:2], "query.mask must be [T, Q]")


@dataclass(frozen=True, slots=True)
class Episodes:
    """Support, query and the query labels: [T, Q] class ids or [T, Q, D] targets.

    Learners get whole episodes only from the TaskStream of meta-training; at meta-test
    ``query_y`` stays with the scorer.
    """

    support: Support
    query: Query
    query_y: Tensor

    def __post_init__(self) -> None:
        _need(self.query_y.shape[:2] == self.query.x.shape[:2], "query_y must start with [T, Q]")
        _need(self.query_y.ndim == self.support.y.ndim, "query_y and support.y differ in kind")

    @property
    def tasks(self) -> int:
        """T."""
        return self.support.tasks


@dataclass(frozen=True, slots=True)
class Prediction:
    """Class scores [T, Q, W] (higher is likelier, W >= the largest way) or targets [T, Q, D]."""

    output: Tensor


Batch = TypeVar("Batch", Support, Query, Episodes)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch on that device."""
    moved: dict[str, Any] = {
        f.name: value.to(device) if isinstance(value, Tensor) else to_device(value, device)
        for f in fields(batch)
        for value in [getattr(batch, f.name)]
    }
    return type(batch)(**moved)


def in_parts(batch: Batch, size: int) -> list[Batch]:
    """The batch in parts of ``size`` tasks, as views; the last may be smaller."""
    parts: dict[str, Any] = {
        f.name: value.split(size) if isinstance(value, Tensor) else in_parts(value, size)
        for f in fields(batch)
        for value in [getattr(batch, f.name)]
    }
    return [type(batch)(*values) for values in zip(*parts.values(), strict=True)]


def concatenate(first: Support, second: Support) -> Support:
    """One support set with the items of both, in this order, task by task."""
    return Support(
        torch.cat([first.x, second.x], dim=1),
        torch.cat([first.y, second.y], dim=1),
        torch.cat([first.mask, second.mask], dim=1),
        torch.maximum(first.way, second.way),
    )


def one_hot(y: Tensor, classes: int) -> Tensor:
    """[T, S] ids -> [T, S, classes] float; ids outside the range become zero rows."""
    return (y.unsqueeze(-1) == torch.arange(classes, device=y.device)).to(torch.get_default_dtype())


def mask_absent_classes(scores: Tensor, way: Tensor) -> Tensor:
    """Scores [T, Q, W] with -inf for classes a task does not have (ids >= way [T])."""
    absent = torch.arange(scores.shape[-1], device=scores.device) >= way[:, None]
    return scores.masked_fill(absent[:, None, :], float("-inf"))
