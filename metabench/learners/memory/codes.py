"""Label codes: which of the ``max_way`` codes a class goes by in a meta-training episode.

Where an episode to come may have more classes than those of meta-training, the codes that
meta-training would never use are drawn as well, so that every code is trained. At meta-test class j
has code j.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from metabench.episodes import Support
from metabench.learners.contract import TaskInfo
from metabench.tasks.base import bounds


def draw_codes(info: TaskInfo, tasks: int, generator: torch.Generator) -> Tensor | None:
    """[T, max_way]: a random permutation a task; None where meta-training uses every code."""
    if info.max_way <= bounds(info.shape.way)[1]:
        return None
    return torch.rand(tasks, info.max_way, generator=generator).argsort(dim=1)


def encode(support: Support, codes: Tensor | None) -> Support:
    """The support set with each class id replaced by its code."""
    if codes is None:
        return support
    return replace(support, y=codes.to(support.y.device).gather(1, support.y))


def decode(output: Tensor, codes: Tensor | None) -> Tensor:
    """[T, n, max_way] by code -> by class id."""
    if codes is None:
        return output
    return output.gather(-1, codes.to(output.device)[:, None].expand_as(output))
