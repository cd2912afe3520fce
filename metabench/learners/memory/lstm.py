"""Learning to learn by a long short-term memory (Hochreiter, Younger and Conwell 2001)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard
from metabench.learners.memory.cells import layer, lstm, remember
from metabench.learners.memory.sequence import KNOBS, Carried, SequenceLearner


@dataclass(frozen=True)
class Cells(Carried):
    """hidden, cell [N, H]."""

    hidden: Tensor
    cell: Tensor


@LEARNERS.register("lstm")
@dataclass(eq=False)
class Lstm(SequenceLearner[Cells]):
    """All that a task teaches is held in the activations of one LSTM.

    Forget gates, which the paper's cells lack, and the size are those of the baseline in Santoro
    et al. 2016.
    """

    card = LearnerCard(
        name="lstm",
        family="memory",
        kinds=("classification", "regression"),
        knobs=KNOBS,
        citation="Hochreiter, Younger, Conwell 2001. Learning to Learn Using Gradient Descent. "
        "ICANN.",
        sequential=True,
    )

    controller: Annotated[int, Field(ge=1, description="LSTM units")] = 200

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Layers of the gates and of the output."""
        parameters: dict[str, Tensor] = {}
        hidden, known = self.controller, self.label_size + self.controller
        layer(parameters, "inputs", math.prod(self.info.input_shape), 4 * hidden, generator)
        layer(parameters, "known", known, 4 * hidden, generator)
        remember(parameters, "known", hidden)
        layer(parameters, "output", hidden, self.label_size, generator)
        return parameters

    def start(self, p: Parameters, support: Support) -> Cells:
        """Zeros."""
        zeros = support.x.new_zeros(support.tasks, self.controller)
        label = support.x.new_zeros(support.tasks, self.label_size)
        return Cells(hidden=zeros, cell=zeros, label=label, way=support.way)

    def drive(self, p: Parameters, x: Tensor) -> Tensor:
        """The inputs' part of the gates."""
        return F.linear(x.flatten(2), p["inputs.weight"], p["inputs.bias"])

    def control(self, p: Parameters, state: Cells) -> Tensor:
        """The part of the gates that is known before the input: [N, 4 H]."""
        known = torch.cat([state.label, state.hidden], dim=1)
        return F.linear(known, p["known.weight"], p["known.bias"])

    def output(self, p: Parameters, hidden: Tensor) -> Tensor:
        """[..., H] -> [..., L]."""
        return F.linear(hidden, p["output.weight"], p["output.bias"])

    def step(self, p: Parameters, state: Cells, drive: Tensor) -> tuple[Tensor, Cells]:
        """One step of the LSTM."""
        hidden, cell = lstm(drive + self.control(p, state), state.cell)
        after = Cells(hidden=hidden, cell=cell, label=state.label, way=state.way)
        return self.output(p, hidden), after

    def peek(self, p: Parameters, state: Cells, drive: Tensor) -> Tensor:
        """One step for each input, none kept."""
        hidden, _ = lstm(drive + self.control(p, state)[:, None], state.cell[:, None])
        return self.output(p, hidden)
