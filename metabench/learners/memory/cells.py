"""What recurrent cells share: layers, the gates of an LSTM, similarity to slots of memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabench.learners.backbones import dense


def layer(
    parameters: dict[str, Tensor],
    name: str,
    inputs: int,
    outputs: int,
    generator: torch.Generator,
) -> None:
    """Add a layer whose outputs have the deviation of its inputs."""
    dense(parameters, name, inputs, outputs, generator, std=1 / math.sqrt(inputs))


def remember(parameters: dict[str, Tensor], name: str, hidden: int) -> None:
    """Let the forget gates of an LSTM's layer start open."""
    parameters[f"{name}.bias"][hidden : 2 * hidden] = 1.0


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell [..., H] from the gates [..., 4 H] and the last cell."""
    enter, keep, leave, new = gates.chunk(4, dim=-1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def cosine(keys: Tensor, slots: Tensor) -> Tensor:
    """Similarity of keys [N, R, C] and slots [N, M, C]: [N, R, M]; safe for zero vectors."""
    norms = keys.norm(dim=-1)[..., None] * slots.norm(dim=-1)[:, None]
    return (keys @ slots.mT) / (norms + 1e-8)
