"""The neural Turing machine (Graves et al. 2014) as a meta-learner."""

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
from metabench.learners.knobs import width
from metabench.learners.memory.ntm_cell import NtmCell, Tape
from metabench.learners.memory.sequence import KNOBS, Carried, SequenceLearner


@dataclass(frozen=True)
class Trace(Tape, Carried):
    """The state of the machine with the pending label."""


@LEARNERS.register("ntm")
@dataclass(eq=False)
class Ntm(SequenceLearner[Trace]):
    """Addresses its memory by content and by location; the support set comes as a sequence.

    Controller, memory and reads have the sizes of MANN in Santoro et al. 2016, whose baseline this
    is, so that the two differ in how memory is addressed.
    """

    card = LearnerCard(
        name="ntm",
        family="memory",
        kinds=("classification", "regression"),
        knobs=(*KNOBS, width("slots", 128), width("width", 40)),
        citation="Graves, Wayne, Danihelka 2014. Neural Turing Machines. arXiv:1410.5401.",
        sequential=True,
    )

    controller: Annotated[int, Field(ge=1, description="LSTM units")] = 200
    slots: Annotated[int, Field(ge=3, description="memory slots")] = 128
    width: Annotated[int, Field(ge=1, description="size of a slot")] = 40
    reads: Annotated[int, Field(ge=1, description="read heads")] = 4
    writes: Annotated[int, Field(ge=1, description="write heads")] = 1
    shift: Annotated[int, Field(ge=0, description="largest shift of a head in one step")] = 1

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of the cell."""
        self.pixels = math.prod(self.info.input_shape)
        self.ntm = NtmCell(
            self.pixels + self.label_size,
            self.label_size,
            self.controller,
            self.slots,
            self.width,
            self.reads,
            self.writes,
            self.shift,
        )
        return self.ntm.init(generator)

    def start(self, p: Parameters, support: Support) -> Trace:
        """A constant memory; no label is pending."""
        tape = self.ntm.start(p, support.tasks)
        label = support.x.new_zeros(support.tasks, self.label_size)
        return Trace(**vars(tape), label=label, way=support.way)

    def drive(self, p: Parameters, x: Tensor) -> Tensor:
        """The part of x in the gates."""
        return F.linear(x.flatten(2), p["inputs.weight"][:, : self.pixels], p["inputs.bias"])

    def pending(self, p: Parameters, state: Trace) -> Tensor:
        """The pending label's part of the gates [N, 4 H]."""
        return F.linear(state.label, p["inputs.weight"][:, self.pixels :])

    def step(self, p: Parameters, state: Trace, drive: Tensor) -> tuple[Tensor, Trace]:
        """Read, then write."""
        return self.ntm.step(p, state, drive + self.pending(p, state))

    def peek(self, p: Parameters, state: Trace, drive: Tensor) -> Tensor:
        """Read only."""
        return self.ntm.peek(p, state, drive + self.pending(p, state)[:, None])
