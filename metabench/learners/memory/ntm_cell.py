"""The neural Turing machine of Graves, Wayne and Danihelka (2014), one step at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones import Parameters
from metabench.learners.memory.cells import cosine, layer, lstm, remember

EMPTY = 1e-6
"""What every slot holds at first: constant, which trains more reliably than random or learned
contents (Collier and Beel 2018, section 3.2), and not zero, whose direction is undefined."""


@dataclass(frozen=True)
class Tape:
    """hidden, cell [N, H]; slots [N, M, C]; weights [N, R + W, M] of reads, then writes;
    found [N, R, C], what was read last."""

    hidden: Tensor
    cell: Tensor
    slots: Tensor
    weights: Tensor
    found: Tensor


T = TypeVar("T", bound=Tape)


@dataclass(frozen=True)
class NtmCell:
    """An LSTM controller with read and write heads over M slots of C numbers.

    Maps inputs [N, I] to outputs [N, O]; sizes default to those of the paper's copy task. The
    order within a step is read, then write: heads address and read what the last step left. As in
    Collier and Beel 2018, keys and additions are bounded by tanh, and the first weights and reads
    are learned: over a constant memory equal weights would stay equal.
    """

    inputs: int
    outputs: int
    controller: int = 100
    slots: int = 128
    width: int = 20
    reads: int = 1
    writes: int = 1
    shift: int = 1
    """Largest shift of a head in one step, either way."""

    @property
    def heads(self) -> int:
        """Of both kinds."""
        return self.reads + self.writes

    @property
    def sizes(self) -> tuple[int, ...]:
        """What a head says of its address: key, strength, gate, shifts, sharpening."""
        return self.width, 1, 1, 2 * self.shift + 1, 1

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters on the CPU."""
        parameters: dict[str, Tensor] = {}
        hidden, found = self.controller, self.reads * self.width
        layer(parameters, "inputs", self.inputs, 4 * hidden, generator)
        layer(parameters, "known", found + hidden, 4 * hidden, generator)
        remember(parameters, "known", hidden)
        layer(parameters, "address", hidden, self.heads * sum(self.sizes), generator)
        layer(parameters, "change", hidden, self.writes * 2 * self.width, generator)
        layer(parameters, "output", hidden + found, self.outputs, generator)
        parameters["first_weights"] = torch.randn(self.heads, self.slots, generator=generator)
        parameters["first_found"] = torch.randn(self.reads, self.width, generator=generator)
        return parameters

    def start(self, p: Parameters, n: int) -> Tape:
        """The state before the first of n sequences' inputs."""
        first = p["first_weights"]
        return Tape(
            hidden=first.new_zeros(n, self.controller),
            cell=first.new_zeros(n, self.controller),
            slots=first.new_full((n, self.slots, self.width), EMPTY),
            weights=first.softmax(dim=-1).expand(n, -1, -1),
            found=p["first_found"].tanh().expand(n, -1, -1),
        )

    def drive(self, p: Parameters, x: Tensor) -> Tensor:
        """The inputs' part of the gates: [..., I] -> [..., 4 H]. It waits for no other step."""
        return F.linear(x, p["inputs.weight"], p["inputs.bias"])

    def control(self, p: Parameters, tape: Tape) -> Tensor:
        """The part of the gates that is known before the input: [N, 4 H]."""
        known = torch.cat([tape.found.flatten(1), tape.hidden], dim=1)
        return F.linear(known, p["known.weight"], p["known.bias"])

    def address(self, raw: Tensor, slots: Tensor, last: Tensor) -> Tensor:
        """Weights [N, n, K, M] of K heads in n cases, each from the same memory and weights.

        raw [N, n, K, sum of ``sizes``]; slots [N, M, C]; last [N, K, M]. Section 3.3 of the paper.
        """
        key, strength, gate, shifts, sharpening = raw.split(self.sizes, dim=-1)
        similar = cosine(key.tanh().flatten(1, 2), slots).unflatten(1, raw.shape[1:3])
        content = (F.softplus(strength) * similar).softmax(dim=-1)  # equation 5
        gate = gate.sigmoid()
        weights = gate * content + (1 - gate) * last[:, None]  # equation 7
        kernel = shifts.softmax(dim=-1).split(1, dim=-1)
        offsets = range(-self.shift, self.shift + 1)
        moved = [s * weights.roll(o, dims=-1) for s, o in zip(kernel, offsets, strict=True)]
        weights = torch.stack(moved).sum(0)  # equation 8
        # The exponent is at least 1. The largest base is 1, so that the sum can't vanish.
        weights = weights / weights.amax(dim=-1, keepdim=True).detach()
        weights = weights ** (1 + F.softplus(sharpening))  # equation 9
        return weights / weights.sum(dim=-1, keepdim=True)

    def output(self, p: Parameters, hidden: Tensor, found: Tensor) -> Tensor:
        """[..., O] from hidden [..., H] and what the heads read [..., R, C]."""
        return F.linear(
            torch.cat([hidden, found.flatten(-2)], -1), p["output.weight"], p["output.bias"]
        )

    def step(self, p: Parameters, tape: T, drive: Tensor) -> tuple[Tensor, T]:
        """One step on an input [N, 4 H] (see ``drive``): output [N, O] and the new state."""
        hidden, cell = lstm(drive + self.control(p, tape), tape.cell)
        raw = F.linear(hidden, p["address.weight"], p["address.bias"])
        raw = raw.view(-1, 1, self.heads, sum(self.sizes))
        weights = self.address(raw, tape.slots, tape.weights).squeeze(1)
        found = weights[:, : self.reads] @ tape.slots  # equation 2
        change = F.linear(hidden, p["change.weight"], p["change.bias"])
        erase, add = change.unflatten(-1, (2, self.writes, self.width)).unbind(1)
        slots = written(tape.slots, weights[:, self.reads :], erase.sigmoid(), add.tanh())
        after = replace(tape, hidden=hidden, cell=cell, slots=slots, weights=weights, found=found)
        return self.output(p, hidden, found), after

    def peek(self, p: Parameters, tape: Tape, drive: Tensor) -> Tensor:
        """Outputs [N, n, O] of inputs [N, n, 4 H], each one step from the same state, unwritten."""
        hidden, _ = lstm(drive + self.control(p, tape)[:, None], tape.cell[:, None])
        size = self.reads * sum(self.sizes)
        raw = F.linear(hidden, p["address.weight"][:size], p["address.bias"][:size])
        raw = raw.unflatten(-1, (self.reads, sum(self.sizes)))
        weights = self.address(raw, tape.slots, tape.weights[:, : self.reads])
        found = (weights.flatten(1, 2) @ tape.slots).unflatten(1, raw.shape[1:3])
        return self.output(p, hidden, found)

    def run(self, p: Parameters, x: Tensor) -> Tensor:
        """Outputs [N, n, O] of a whole sequence [N, n, I]."""
        return torch.stack(list(self._outputs(p, x)), dim=1)

    def _outputs(self, p: Parameters, x: Tensor) -> Iterator[Tensor]:
        tape = self.start(p, len(x))
        for drive in self.drive(p, x).unbind(1):
            output, tape = self.step(p, tape, drive)
            yield output


def written(slots: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Slots [N, M, C] after W heads erased, then added (equations 3 and 4).

    weights [N, W, M]; erase and add [N, W, C].
    """
    for weight, gone in zip(weights.unbind(1), erase.unbind(1), strict=True):
        slots = slots * (1 - weight[..., None] * gone[:, None])
    return slots.baddbmm(weights.mT, add)
