"""What recurrent meta-learners share: the support set as a sequence, read by a recurrent cell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes, Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.learners.backbones import Parameters
from metabench.learners.contract import StepLog, TaskInfo, TaskStream
from metabench.learners.knobs import batch, rate, width
from metabench.learners.memory.codes import decode, draw_codes, encode
from metabench.learners.network import item_loss
from metabench.learners.trainable import Trainable
from metabench.rng import Address


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What a sequence has left behind, batched over N sequences; a learner adds its own tensors.

    label [N, L] is pending: it comes with the next input. way [N].
    """

    label: Tensor
    way: Tensor

    def where(self, mask: Tensor, other: Self) -> Self:
        """This state in the sequences where ``mask`` [N] holds, the other elsewhere."""

        def pick(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)

        chosen: dict[str, Any] = {
            f.name: pick(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        }
        return type(self)(**chosen)


C = TypeVar("C", bound=Carried)


KNOBS = (
    rate("meta_lr", 1e-3, 1),
    batch("meta_batch", 16),
    rate("clip", 10.0, None),
    width("controller", 200),
)


@dataclass(eq=False)
class SequenceLearner(Trainable[C]):
    """Reads the support set item by item; input t is (x_t, y_{t-1}), flattened.

    A label arrives one step late (Hochreiter et al. 2001; Santoro et al. 2016, figure 1), so the
    network must hold x until its label is known. Each query is one further step from the state
    that the support set left, and is never written. In meta-training every step is predicted,
    those of the support set before their label comes.
    """

    differentiable: ClassVar[bool] = True
    """In the support and the query."""

    meta_lr: Annotated[float, Field(gt=0, description="Adam's rate")] = 1e-3
    meta_batch: Annotated[int, Field(ge=1, description="tasks a step")] = 16
    clip: Annotated[float, Field(gt=0, description="largest norm of the gradient")] = 10.0

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Fresh parameters."""
        self.info = info
        classes = info.kind == "classification"
        self.label_size = info.max_way if classes else info.output_dim
        generator = Address.of(self.card.name, "init", seed).torch_generator()
        self.hold(self.init(generator), device, self.meta_lr)

    @abstractmethod
    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters on the CPU."""

    @abstractmethod
    def start(self, p: Parameters, support: Support) -> C:
        """The state before the first item."""

    @abstractmethod
    def drive(self, p: Parameters, x: Tensor) -> Tensor:
        """What inputs x [N, n, *X] add to the controller: [N, n, 4 H].

        Apart from the rest because it waits for no other step.
        """

    @abstractmethod
    def step(self, p: Parameters, state: C, drive: Tensor) -> tuple[Tensor, C]:
        """One step on an input [N, 4 H] with the pending label: output [N, L], the new state."""

    @abstractmethod
    def peek(self, p: Parameters, state: C, drive: Tensor) -> Tensor:
        """Outputs [N, n, L] of inputs [N, n, 4 H], each one step from the same state."""

    def read_support(self, p: Parameters, state: C, support: Support) -> tuple[Tensor, C]:
        """Present the items in order: the outputs before each label [N, S, L], the final state."""
        y = support.y
        labels = one_hot(y, self.label_size) if support.kind == "classification" else y
        full = bool(support.mask.all())
        outputs = []
        # Not by index: the gradient of unbind is one stack.
        for t, drive in enumerate(self.drive(p, support.x).unbind(1)):
            output, after = self.step(p, state, drive)
            after = replace(after, label=labels[:, t])
            state = after if full else after.where(support.mask[:, t], state)
            outputs.append(output)
        way = torch.maximum(state.way, support.way)
        return torch.stack(outputs, dim=1), replace(state, way=way)

    def meta_loss(self, p: Parameters, episodes: Episodes, codes: Tensor | None = None) -> Tensor:
        """Mean loss of every prediction of the sequence, support items included."""
        q = episodes.query
        s = replace(episodes.support, y=encode(episodes.support.y, codes))
        before, state = self.read_support(p, self.start(p, s), s)
        output = torch.cat([before, self.peek(p, state, self.drive(p, q.x))], dim=1)
        y = torch.cat([episodes.support.y, episodes.query_y], dim=1)
        mask = torch.cat([s.mask, q.mask], dim=1)
        each = torch.func.vmap(item_loss)
        losses: Tensor = each(decode(output, codes), y, mask, s.way)
        return losses.mean()

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Adam with clipped gradients."""
        while True:
            codes = draw_codes(self.info, self.meta_batch, tasks.generator())
            loss = self.meta_loss(self.parameters, tasks.next(self.meta_batch), codes)
            yield self.update(loss, clip=self.clip)

    def adapt(self, support: Support) -> C:
        """Read the support set as a sequence."""
        p = self.frozen
        return self.read_support(p, self.start(p, support), support)[1]

    def observe(self, state: C, support: Support) -> C:
        """Go on with the sequence."""
        return self.read_support(self.frozen, state, support)[1]

    def predict(self, state: C, query: Query) -> Prediction:
        """One step a query."""
        p = self.frozen
        output = self.peek(p, state, self.drive(p, query.x))
        if self.info.kind == "classification":
            output = mask_absent_classes(output, state.way)
        return Prediction(output)
