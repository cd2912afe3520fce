"""Label codes: which of the ``max_way`` codes a class goes by in a meta-training episode.

Where an episode to come may have more classes than those of meta-training, the codes that
meta-training would never use are drawn as well, so that every code is trained. At meta-test class j
has code j.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.learners.contract import TaskInfo
from metabench.tasks.base import bounds


def draw_codes(info: TaskInfo, tasks: int, generator: torch.Generator) -> Tensor | None:
    """[T, max_way]: a random permutation a task; None where meta-training uses every code."""
    if info.max_way <= bounds(info.shape.way)[1]:
        return None
    return torch.rand(tasks, info.max_way, generator=generator).argsort(dim=1)


def encode(y: Tensor, codes: Tensor | None) -> Tensor:
    """Class ids [T, n] -> their codes."""
    return y if codes is None else codes.to(y.device).gather(1, y)


def decode(output: Tensor, codes: Tensor | None) -> Tensor:
    """[T, n, max_way] by code -> by class id."""
    if codes is None:
        return output
    return output.gather(-1, codes.to(output.device)[:, None].expand_as(output))
