"""Reptile (Nichol, Achiam and Schulman 2018): move towards what each task's training arrives at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Episodes, Kind
from metabench.learners.backbones import Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, StepLog, TaskInfo, TaskStream
from metabench.learners.gradient.base import (
    GradientLearner,
    Items,
    Positive,
    query_of,
    support_of,
)
from metabench.learners.knobs import around, batch, rate, width

BETA2, EPSILON = 0.999, 1e-8
"""Adam's; its beta1 is 0 here."""
Count = Annotated[int, Field(ge=1)]
Optimiser = Literal["adam", "sgd"]


class Settings(NamedTuple):
    """Of one of the authors' experiments."""

    optimiser: Optimiser
    rate: float
    steps: int
    eval_steps: int
    items: int
    shot: int
    meta_rate: float
    tasks: int


SINUSOIDS = Settings("sgd", 0.02, 5, 32, 10, 50, 0.1, 1)
OMNIGLOT = Settings("adam", 4.4e-4, 12, 86, 5, 12, 1.0, 3)
TRANSDUCTIVE_OMNIGLOT = Settings("adam", 1e-3, 3, 5, 25, 15, 1.0, 10)
"""5-way 1-shot."""


@LEARNERS.register("reptile")
@dataclass(eq=False)
class Reptile(GradientLearner):
    """The meta-gradient is theta - phi, phi after k mini-batches of a task (algorithm 2).

    Training tasks have more shots than those of the test, and are used whole. Defaults in
    classification are the paper's for 5-way 1-shot Omniglot, with Adam (beta1 = 0) inside; its
    second moments go on from task to task and into the test, as in the authors' code, and are
    averaged over a meta-batch. Defaults in regression are the authors' for sinusoids, with gradient
    descent inside. The meta-rate falls linearly to 0. At meta-test the steps are full-batch: the
    paper's are too in 5-way 1-shot, elsewhere it draws mini-batches at random.
    """

    card = LearnerCard(
        name="reptile",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=(
            rate("inner_lr", 0.02, 0, "regression"),
            rate("inner_lr", 4.4e-4, 0, "classification"),
            around("inner_steps", 5, 2, "regression"),
            around("inner_steps", 12, 2, "classification"),
            rate("meta_lr", 0.1, 1, "regression"),
            rate("meta_lr", 1.0, 1, "classification"),
            batch("meta_batch", 1, "regression"),
            batch("meta_batch", 3, "classification"),
            width("hidden", 64, "regression"),
            width("filters", 64, "classification"),
        ),
        citation="Nichol, Achiam, Schulman 2018. On First-Order Meta-Learning Algorithms. "
        "arXiv:1803.02999.",
    )
    std: ClassVar[float] = 0.1
    paper: ClassVar[dict[Kind, Settings]] = {"regression": SINUSOIDS, "classification": OMNIGLOT}
    per_class: ClassVar[tuple[str, ...]] = (
        "head.weight",
        "head.bias",
        "second.head.weight",
        "second.head.bias",
    )

    # These two depend on the kind of task here, which the base class has no need for.
    inner_steps: Annotated[
        Count | None, Field(description="mini-batches a task; None: 5 regression, 12 otherwise")
    ] = None  # type: ignore[assignment]
    meta_lr: Annotated[
        Positive | None, Field(description="first meta-step; None: 0.1 regression, 1 otherwise")
    ] = None  # type: ignore[assignment]
    inner_lr: Annotated[
        Positive | None,
        Field(description="inner rate; None: 0.02 regression, 0.00044 classification"),
    ] = None
    eval_steps: Annotated[
        Count | None,
        Field(description="steps at meta-test; None: 32 regression, 86 classification"),
    ] = None
    inner_batch: Annotated[
        Count | None, Field(description="items a step; None: 10 regression, 5 classification")
    ] = None
    inner_optimiser: Annotated[
        Optimiser | None, Field(description="None: sgd regression, adam classification")
    ] = None
    train_shot: Annotated[
        Count | None,
        Field(description="shots of training tasks; None: 50 regression, 12 classification"),
    ] = None
    meta_batch: Annotated[
        Count | None, Field(description="tasks a step; None: 1 regression, 3 classification")
    ] = None
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 64

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the initialisation; Adam's moments start at 0."""
        super().setup(info, seed, device)
        given = self.paper[info.kind]
        self.lr = self.inner_lr or given.rate
        self.steps = self.inner_steps or given.steps
        self.steps_at_test = self.eval_steps or given.eval_steps
        self.items = self.inner_batch or given.items
        self.shot = self.train_shot or given.shot
        self.rate = self.meta_lr or given.meta_rate
        self.batch = self.meta_batch or given.tasks
        self.adam = (self.inner_optimiser or given.optimiser) == "adam"
        second = {f"second.{k}": torch.zeros_like(self.parameters[k]) for k in self.names}
        self.buffers = second | {"steps": torch.zeros((), device=device)}

    def make_optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """Gradient descent; ``schedule`` sets its rate."""
        return torch.optim.SGD(parameters, lr=1.0)

    def schedule(self, tasks: TaskStream) -> None:
        """The meta-step falls linearly to 0; mini-batches come from this step's generator."""
        self.draws = tasks.generator()
        self.set_rate(self.rate * (1 - tasks.step / tasks.planned_steps(self.batch)))

    @property
    def frozen(self) -> dict[str, Tensor]:
        """The initialisation and Adam's moments."""
        return super().frozen | self.buffers

    def start(self, meta: Parameters, support: Items) -> dict[str, Tensor]:
        """The initialisation, and Adam's second moments."""
        prefixes = ("", "second.") if self.adam else ("",)
        return {prefix + k: meta[prefix + k] for prefix in prefixes for k in self.names}

    @property
    def second_order(self) -> bool:
        """Nothing is differentiated through the inner loop."""
        return False

    def slope(self, meta: Parameters, fast: Parameters, support: Items) -> dict[str, Tensor]:
        """The gradient in the weights."""
        return super().slope(meta, {k: fast[k] for k in self.names}, support)

    def updated(
        self, meta: Parameters, fast: Parameters, gradients: Parameters, step: int
    ) -> dict[str, Tensor]:
        """Adam without momentum (Kingma and Ba 2015, algorithm 1), or gradient descent."""
        if not self.adam:
            return super().updated(meta, fast, gradients, step)
        correction = 1 - BETA2 ** (meta["steps"] + step + 1)
        moved = {}
        for k in self.names:
            second = BETA2 * fast[f"second.{k}"] + (1 - BETA2) * gradients[k].square()
            moved[f"second.{k}"] = second
            moved[k] = fast[k] - self.lr * gradients[k] / ((second / correction).sqrt() + EPSILON)
        return moved

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """One interpolation a meta-batch."""
        while True:
            self.schedule(tasks)
            episodes = tasks.next(self.batch, shot=self.shot, query=1)
            moved, loss = self.meta_gradient(self.frozen, episodes)
            log = self.update(loss, moved)
            if self.adam:
                for k in self.names:
                    self.buffers[f"second.{k}"] -= moved[f"second.{k}"]
                self.buffers["steps"] += self.steps
            yield log

    def meta_gradient(
        self, meta: Parameters, episodes: Episodes
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Mean over tasks of where they start minus where they arrive, and of the query loss."""
        mask = episodes.support.mask
        orders = mini_batches(mask, self.steps, self.items, self.draws).to(mask.device)

        def one(support: Items, query: Items, order: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            fast = self.start(meta, support)
            for step, chosen in enumerate(order.unbind(0)):
                x, y, mask = (t[chosen] for t in support[:3])
                slope = self.slope(meta, fast, Items(x, y, mask, support.way))
                fast = self.updated(meta, fast, slope, step)
            loss = self.query_loss(meta, fast, support, query)
            return {k: meta[k] - p for k, p in fast.items()}, loss

        moved, losses = self.lift(one)(support_of(episodes.support), query_of(episodes), orders)
        return {k: m.mean(0) for k, m in moved.items()}, losses.mean()


@LEARNERS.register("reptile-transductive")
@dataclass(eq=False)
class ReptileTransductive(Reptile):
    """Queries are normalised by their own batch; in classification the paper's settings for that.

    Adam at 0.001, 3 mini-batches of 25 items, 15 shots, meta-batches of 10, 5 steps at meta-test.
    """

    card = replace(Reptile.card, name="reptile-transductive", transductive=True)
    paper: ClassVar[dict[Kind, Settings]] = {
        "regression": SINUSOIDS,
        "classification": TRANSDUCTIVE_OMNIGLOT,
    }


def mini_batches(mask: Tensor, steps: int, items: int, generator: torch.Generator) -> Tensor:
    """Items of every mini-batch [T, steps, items], among those where ``mask`` [T, S] holds.

    A task's items come in epochs, each in a new order, and a batch may span two of them.
    """
    counts = mask.sum(dim=1).cpu()
    epochs = -(-steps * items // int(counts.min()))
    keys = torch.rand(len(mask), epochs, mask.shape[1], generator=generator)
    order = keys.masked_fill(~mask.cpu()[:, None], 2.0).argsort(dim=-1)
    position = torch.arange(steps * items).expand(len(mask), -1)
    epoch, rank = position // counts[:, None], position % counts[:, None]
    chosen = order.flatten(1).gather(1, epoch * mask.shape[1] + rank)
    return chosen.view(-1, steps, items)
