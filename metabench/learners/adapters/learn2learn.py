"""A module wrapped by MAML or MetaSGD of learn2learn as a learner."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.errors import MetabenchError
from metabench.learners.contract import StepLog, TaskInfo, TaskStream
from metabench.learners.network import item_loss
from metabench.learners.trainable import Trainable


@dataclass(frozen=True)
class Clones:
    """One adapted clone a task; way [T], None in regression."""

    adapted: list[Any]
    way: Tensor | None


class Learn2LearnLearner(Trainable[Clones]):
    """Subclass it: ``card``, and ``make`` that returns a module wrapped by MAML or MetaSGD.

    The module maps [N, *X] to [N, info.max_way] or [N, info.output_dim]. It takes ``inner_steps``
    steps on each support set; Adam over the wrapper's parameters meta-trains it, through the inner
    steps unless the wrapper is of first order.

    The module is in eval mode, but for batch normalisation while it adapts: queries are normalised
    by its running statistics, which with ``momentum=1.0`` are those of the support set.
    """

    def __init__(self, lr: float = 1e-3, inner_steps: int = 5, meta_batch: int = 4) -> None:
        self.lr, self.inner_steps, self.meta_batch = lr, inner_steps, meta_batch

    def make(self, info: TaskInfo) -> Any:
        """The wrapped module, on the CPU; what it draws comes from the learner's seed."""
        raise NotImplementedError

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make it; MetabenchError where learn2learn is missing or the wrapper is another one."""
        algorithms = import_learn2learn()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.wrapped = self.make(info)
        if not isinstance(self.wrapped, (algorithms.MAML, algorithms.MetaSGD)):
            raise MetabenchError(f"{type(self.wrapped).__name__} is not MAML or MetaSGD")
        self.wrapped.to(device).eval()
        named = dict(self.wrapped.named_parameters())
        fixed = {k: p for k, p in named.items() if not p.requires_grad}
        trained = {k: p for k, p in named.items() if p.requires_grad}
        self.hold(trained, device, self.lr, fixed | dict(self.wrapped.named_buffers()))
        self.stride, self.steps_at_test = 1.0, self.inner_steps

    def fitted(self, support: Support, i: int, steps: int, first_order: bool | None) -> Any:
        """A clone adapted to task i; None for ``first_order``: as the wrapper says."""
        clone = self.wrapped.clone()
        for layer in clone.modules():
            # Cloning leaves running statistics to be shared with what was cloned.
            layer._buffers = {k: b if b is None else b.clone() for k, b in layer._buffers.items()}
        if self.stride != 1.0:
            if isinstance(clone, import_learn2learn().MetaSGD):
                clone.lrs = [rate * self.stride for rate in clone.lrs]
            else:
                clone.lr *= self.stride
        x, y = support.x[i][support.mask[i]], support.y[i][support.mask[i]]
        if len(y):
            normalise_by_batch(clone, True)
            for _ in range(steps):
                clone.adapt(item_loss(clone(x), y, None, support.way[i]), first_order=first_order)
            normalise_by_batch(clone, False)
        return clone

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """One step of Adam a batch of tasks."""
        while True:
            e = tasks.next(self.meta_batch)
            losses = []
            for i in range(e.tasks):
                clone, mask = self.fitted(e.support, i, self.inner_steps, None), e.query.mask[i]
                output = clone(e.query.x[i][mask])
                losses.append(item_loss(output, e.query_y[i][mask], None, e.support.way[i]))
            yield self.update(torch.stack(losses).mean())

    def adapt(self, support: Support) -> Clones:
        """A clone a task."""
        with torch.enable_grad():
            # The steps are those of second order; nothing is differentiated through them.
            tasks = range(support.tasks)
            clones = [self.fitted(support, i, self.steps_at_test, True) for i in tasks]
        return Clones(clones, support.way if support.kind == "classification" else None)

    @torch.no_grad()
    def predict(self, state: Clones, query: Query) -> Prediction:
        """Each task's clone on its queries."""
        output = torch.stack([f(x) for f, x in zip(state.adapted, query.x, strict=True)])
        if state.way is None:
            return Prediction(output)
        return Prediction(mask_absent_classes(output[..., : int(state.way.max())], state.way))

    def retuned(self, *, rate: float = 1.0, steps: float = 1.0) -> Self:
        """The same learner with inner rate and steps at meta-test times these; 0 steps is none."""
        other = copy.copy(self)
        other.stride = self.stride * rate
        other.steps_at_test = max(round(self.steps_at_test * steps), steps > 0)
        return other


def normalise_by_batch(module: nn.Module, by_batch: bool) -> None:
    """Whether layers of batch normalisation use the batch's statistics or the running ones."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.train(by_batch)


def import_learn2learn() -> Any:
    """``learn2learn.algorithms``; MetabenchError naming the extra where it is not installed."""
    try:
        return importlib.import_module("learn2learn.algorithms")
    except ImportError as error:
        raise MetabenchError(
            f"a learner of learn2learn needs it: pip install 'metabench[learn2learn]' ({error})"
        ) from None
