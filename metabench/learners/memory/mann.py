"""Memory-augmented neural network with least-recently-used access (Santoro et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.learners.backbones import Parameters, dense
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    StepLog,
    TaskInfo,
    TaskStream,
)
from metabench.learners.network import item_loss
from metabench.learners.trainable import Trainable
from metabench.rng import Address


@dataclass(frozen=True)
class Memory:
    """What a sequence has left behind, batched over N sequences.

    hidden, cell [N, H]; slots [N, M, C]; read [N, R, M] (the last read weights); usage [N, M];
    label [N, L] (the label that comes with the next input: the offset of the paper's figure 1);
    way [N].
    """

    hidden: Tensor
    cell: Tensor
    slots: Tensor
    read: Tensor
    usage: Tensor
    label: Tensor
    way: Tensor

    def where(self, mask: Tensor, other: Memory) -> Memory:
        """This state in the sequences where ``mask`` [N] holds, the other elsewhere."""

        def pick(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)

        return Memory(*(pick(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


@LEARNERS.register("mann")
@dataclass(eq=False)
class Mann(Trainable[Memory]):
    """An LSTM that reads and writes an external memory; the support set comes as a sequence.

    Input t is (x_t, y_{t-1}): a label arrives one step late, so the network must hold x until its
    label is known. Each query is one further step from the state the support set left, and is
    never written. Sizes are the paper's: LSTM 200, 128 slots of 40, four reads, usage decay 0.95.
    The order within a step is read, then write, so that a key retrieves the past and not itself.
    """

    card = LearnerCard(
        name="mann",
        family="memory",
        kinds=("classification", "regression"),
        citation="Santoro et al. 2016. Meta-Learning with Memory-Augmented Neural Networks. ICML.",
        sequential=True,
    )

    controller: Annotated[int, Field(ge=1, description="LSTM units")] = 200
    slots: Annotated[int, Field(ge=1, description="memory slots")] = 128
    width: Annotated[int, Field(ge=1, description="size of a slot")] = 40
    reads: Annotated[int, Field(ge=1, description="read heads")] = 4
    decay: Annotated[float, Field(ge=0, lt=1, description="decay of usage a step")] = 0.95
    meta_lr: Annotated[float, Field(gt=0, description="Adam's rate")] = 1e-3
    meta_batch: Annotated[int, Field(ge=1, description="tasks a step")] = 16
    clip: Annotated[float, Field(gt=0, description="largest norm of the gradient")] = 10.0

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Fresh parameters."""
        self.info = info
        classes = info.kind == "classification"
        self.label_size = info.max_way if classes else info.output_dim
        generator = Address.of("mann", "init", seed).torch_generator()
        parameters: dict[str, Tensor] = {}

        def layer(name: str, inputs: int, outputs: int) -> None:
            dense(parameters, name, inputs, outputs, generator, std=1 / math.sqrt(inputs))

        hidden, heads = self.controller, self.reads
        # The gates' weights on the input and on all else, apart: queries share the latter.
        layer("inputs", math.prod(info.input_shape), 4 * hidden)
        layer("known", self.label_size + heads * self.width + hidden, 4 * hidden)
        parameters["known.bias"][hidden : 2 * hidden] = 1.0  # remember by default
        layer("keys", hidden, heads * self.width)
        layer("blend", hidden, heads)
        layer("output", hidden + heads * self.width, self.label_size)
        self.hold(parameters, device, self.meta_lr)

    def control(self, p: Parameters, m: Memory, x: Tensor) -> tuple[Tensor, Tensor]:
        """The LSTM on n inputs per sequence, x [N, n, *X], each with the pending label.

        Returns hidden and cell [N, n, H]; every input starts from the same state.
        """
        retrieved = (m.read @ m.slots).flatten(1)
        known = torch.cat([m.label, retrieved, m.hidden], dim=1)
        flat = x.flatten(2)
        gates = F.linear(flat, p["inputs.weight"], p["inputs.bias"])
        gates = gates + F.linear(known, p["known.weight"], p["known.bias"])[:, None]
        enter, keep, leave, new = gates.chunk(4, dim=-1)
        cell = keep.sigmoid() * m.cell[:, None] + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell

    def recall(self, p: Parameters, hidden: Tensor, slots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys [N, n, R, C], read weights [N, n, R, M] and outputs [N, n, L] for hidden [N, n, H].

        Equations 2 to 4 of the paper; no key strength.
        """
        keys = F.linear(hidden, p["keys.weight"], p["keys.bias"]).tanh()
        flat = keys.unflatten(-1, (self.reads, self.width)).flatten(1, 2)
        read = cosine(flat, slots).softmax(dim=-1)
        found = (read @ slots).unflatten(1, (-1, self.reads)).flatten(2)
        output = F.linear(torch.cat([hidden, found], -1), p["output.weight"], p["output.bias"])
        return (
            flat.unflatten(1, (-1, self.reads)),
            read.unflatten(1, (-1, self.reads)),
            output,
        )

    def step(self, p: Parameters, m: Memory, x: Tensor) -> tuple[Tensor, Memory]:
        """One time step on x [N, *X] with the pending label: output [N, L] and the new state."""
        hidden, cell = self.control(p, m, x[:, None])
        keys, read, output = (t.squeeze(1) for t in self.recall(p, hidden, m.slots))
        hidden, cell = hidden.squeeze(1), cell.squeeze(1)
        blend = F.linear(hidden, p["blend.weight"], p["blend.bias"]).sigmoid()[..., None]
        least = least_used(m.usage, self.reads)  # equation 6
        write = blend * m.read + (1 - blend) * least[:, None]  # equation 7
        slots = m.slots * (1 - least)[..., None] + write.mT @ keys  # equation 8
        usage = self.decay * m.usage + read.sum(1) + write.sum(1)  # equation 5
        return output, Memory(hidden, cell, slots, read, usage, m.label, m.way)

    def start(self, support: Support) -> Memory:
        """The state before the first item: an almost empty memory."""
        n, device = support.tasks, support.x.device

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(n, *shape, device=device)

        return Memory(
            hidden=zeros(self.controller),
            cell=zeros(self.controller),
            slots=zeros(self.slots, self.width) + 1e-6,
            read=zeros(self.reads, self.slots),
            # Slots start equally unused; a ramp makes their order the same on every device.
            usage=zeros(self.slots) + 1e-6 * torch.arange(self.slots, device=device),
            label=zeros(self.label_size),
            way=support.way,
        )

    def read_support(
        self, p: Parameters, memory: Memory, support: Support
    ) -> tuple[Tensor, Memory]:
        """Present the items in order: the outputs before each label [N, S, L], the final state."""
        labels = one_hot(support.y, self.label_size) if support.kind == "classification" else None
        outputs = []
        for t in range(support.x.shape[1]):
            output, after = self.step(p, memory, support.x[:, t])
            label = support.y[:, t] if labels is None else labels[:, t]
            after = replace(after, label=label, way=torch.maximum(memory.way, support.way))
            memory = after.where(support.mask[:, t], memory)
            outputs.append(output)
        return torch.stack(outputs, dim=1), memory

    def read_query(self, p: Parameters, memory: Memory, x: Tensor) -> Tensor:
        """One step for each query, each from the same state, nothing written: [N, Q, L]."""
        hidden, _ = self.control(p, memory, x)
        return self.recall(p, hidden, memory.slots)[2]

    def meta_loss(self, p: Parameters, episodes: Episodes) -> Tensor:
        """Mean loss of every prediction of the sequence, support items included."""
        s, q = episodes.support, episodes.query
        before, memory = self.read_support(p, self.start(s), s)
        output = torch.cat([before, self.read_query(p, memory, q.x)], dim=1)
        y = torch.cat([s.y, episodes.query_y], dim=1)
        mask = torch.cat([s.mask, q.mask], dim=1)
        losses: Tensor = torch.func.vmap(item_loss)(output, y, mask, s.way)
        return losses.mean()

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Adam with clipped gradients."""
        while True:
            loss = self.meta_loss(self.parameters, tasks.next(self.meta_batch))
            yield self.update(loss, clip=self.clip)

    def adapt(self, support: Support) -> Memory:
        """Read the support set as a sequence."""
        with torch.no_grad():
            return self.read_support(self.frozen, self.start(support), support)[1]

    def observe(self, state: Memory, support: Support) -> Memory:
        """Go on with the sequence."""
        with torch.no_grad():
            return self.read_support(self.frozen, state, support)[1]

    def predict(self, state: Memory, query: Query) -> Prediction:
        """One step a query."""
        with torch.no_grad():
            output = self.read_query(self.frozen, state, query.x)
        if self.info.kind == "classification":
            output = mask_absent_classes(output, state.way)
        return Prediction(output)


def cosine(keys: Tensor, slots: Tensor) -> Tensor:
    """Similarity of keys [N, R, C] and slots [N, M, C]: [N, R, M]; safe for zero vectors."""
    norms = keys.norm(dim=-1)[..., None] * slots.norm(dim=-1)[:, None]
    return (keys @ slots.mT) / (norms + 1e-8)


def least_used(usage: Tensor, count: int) -> Tensor:
    """[N, M] -> 1 at the ``count`` least used slots, 0 elsewhere; no gradient."""
    indices = usage.detach().topk(count, dim=-1, largest=False).indices
    return torch.zeros_like(usage).scatter(-1, indices, 1.0)
