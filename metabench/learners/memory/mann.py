"""Memory-augmented neural network with least-recently-used access (Santoro et al. 2016)."""

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
from metabench.learners.memory.cells import cosine, layer, lstm, remember
from metabench.learners.memory.sequence import KNOBS, Carried, SequenceLearner


@dataclass(frozen=True)
class Memory(Carried):
    """hidden, cell [N, H]; slots [N, M, C]; usage [N, M]; read [N, R, M] and found [N, R * C], the
    last read weights and what they read."""

    hidden: Tensor
    cell: Tensor
    slots: Tensor
    read: Tensor
    found: Tensor
    usage: Tensor


@LEARNERS.register("mann")
@dataclass(eq=False)
class Mann(SequenceLearner[Memory]):
    """An LSTM that reads and writes an external memory; the support set comes as a sequence.

    Sizes are the paper's: LSTM 200, 128 slots of 40, four reads, usage decay 0.95. The order
    within a step is read, then write, so that a key retrieves the past and not itself.
    """

    card = LearnerCard(
        name="mann",
        family="memory",
        kinds=("classification", "regression"),
        knobs=(*KNOBS, width("slots", 128), width("width", 40)),
        citation="Santoro et al. 2016. Meta-Learning with Memory-Augmented Neural Networks. ICML.",
        version="2",
        sequential=True,
    )

    controller: Annotated[int, Field(ge=1, description="LSTM units")] = 200
    slots: Annotated[int, Field(ge=1, description="memory slots")] = 128
    width: Annotated[int, Field(ge=1, description="size of a slot")] = 40
    reads: Annotated[int, Field(ge=1, description="read heads")] = 4
    decay: Annotated[float, Field(ge=0, lt=1, description="decay of usage a step")] = 0.95

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Layers of the controller, the heads and the output."""
        parameters: dict[str, Tensor] = {}
        hidden, found = self.controller, self.reads * self.width
        # The gates' weights on the input and on all else, apart: queries share the latter.
        layer(parameters, "inputs", math.prod(self.info.input_shape), 4 * hidden, generator)
        layer(parameters, "known", self.label_size + found + hidden, 4 * hidden, generator)
        remember(parameters, "known", hidden)
        layer(parameters, "keys", hidden, found, generator)
        layer(parameters, "blend", hidden, self.reads, generator)
        layer(parameters, "output", hidden + found, self.label_size, generator)
        return parameters

    def start(self, p: Parameters, support: Support) -> Memory:
        """An almost empty memory."""
        n, device = support.tasks, support.x.device

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(n, *shape, device=device)

        return Memory(
            hidden=zeros(self.controller),
            cell=zeros(self.controller),
            slots=zeros(self.slots, self.width) + 1e-6,
            read=zeros(self.reads, self.slots),
            found=zeros(self.reads * self.width),
            # Slots start equally unused; a ramp makes their order the same on every device.
            usage=zeros(self.slots) + 1e-6 * torch.arange(self.slots, device=device),
            label=zeros(self.label_size),
            way=support.way,
        )

    def drive(self, p: Parameters, x: Tensor) -> Tensor:
        """The inputs' part of the gates."""
        return F.linear(x.flatten(2), p["inputs.weight"], p["inputs.bias"])

    def control(self, p: Parameters, m: Memory) -> Tensor:
        """The part of the gates that is known before the input: [N, 4 H]."""
        known = torch.cat([m.label, m.found, m.hidden], dim=1)
        return F.linear(known, p["known.weight"], p["known.bias"])

    def recall(self, p: Parameters, hidden: Tensor, slots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys [N, n * R, C], read weights [N, n * R, M], what is read [N, n, R * C] for hidden
        [N, n, H].

        Equations 2 to 4 of the paper; no key strength.
        """
        keys = F.linear(hidden, p["keys.weight"], p["keys.bias"]).tanh()
        keys = keys.unflatten(-1, (self.reads, self.width)).flatten(1, 2)
        read = cosine(keys, slots).softmax(dim=-1)
        return keys, read, (read @ slots).unflatten(1, (-1, self.reads)).flatten(2)

    def output(self, p: Parameters, hidden: Tensor, found: Tensor) -> Tensor:
        """[..., L] from hidden [..., H] and what was read [..., R * C]."""
        return F.linear(torch.cat([hidden, found], -1), p["output.weight"], p["output.bias"])

    def step(self, p: Parameters, state: Memory, drive: Tensor) -> tuple[Tensor, Memory]:
        """Read, then write."""
        m = state
        hidden, cell = lstm(drive + self.control(p, m), m.cell)
        keys, read, found = self.recall(p, hidden[:, None], m.slots)
        found = found.squeeze(1)
        blend = F.linear(hidden, p["blend.weight"], p["blend.bias"]).sigmoid()[..., None]
        least = least_used(m.usage, self.reads)  # equation 6
        write = blend * m.read + (1 - blend) * least[:, None]  # equation 7
        kept = m.slots * (1 - least)[..., None]
        slots = kept.baddbmm(write.mT, keys)  # equation 8
        usage = self.decay * m.usage + (read + write).detach().sum(1)  # equation 5
        after = Memory(hidden, cell, slots, read, found, usage, label=m.label, way=m.way)
        return self.output(p, hidden, found), after

    def peek(self, p: Parameters, state: Memory, drive: Tensor) -> Tensor:
        """Read only."""
        hidden, _ = lstm(drive + self.control(p, state)[:, None], state.cell[:, None])
        return self.output(p, hidden, self.recall(p, hidden, state.slots)[2])


def least_used(usage: Tensor, count: int) -> Tensor:
    """[N, M] -> 1 at the ``count`` least used slots, 0 elsewhere; no gradient."""
    indices = usage.detach().topk(count, dim=-1, largest=False).indices
    return torch.zeros_like(usage).scatter(-1, indices, 1.0)
