"""The learned optimiser of Andrychowicz et al. 2016: a recurrent network takes the inner steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes
from metabench.learners.backbones import BackboneName, Parameters
from metabench.learners.contract import LEARNERS, LearnerCard, TaskInfo, TaskStream
from metabench.learners.gradient.base import (
    GradientLearner,
    Items,
    query_of,
    support_of,
)
from metabench.learners.knobs import around, batch, rate, width

P = 10.0
"""Gradients below exp(-p) count by their size, others by its logarithm (appendix A)."""
SCALE = 0.1
"""What the network's output is multiplied with (appendix A)."""
LAYERS = 2


@LEARNERS.register("learned-optimizer")
@dataclass(eq=False)
class LearnedOptimizer(GradientLearner):
    """Meta-learns the update rule: theta' = theta + g(gradient, state) (equation 2).

    g is an LSTM of two layers that every coordinate has to itself, with shared weights (section
    2.1). It is trained on the mean loss over the unrolled steps (equation 3, all weights equal),
    here of the queries; the gradients it is given count as constants. Networks start at random,
    anew in every training task as in the paper, and at meta-test from one draw of the seed;
    ``learned_start`` meta-learns that start as well (Ravi and Larochelle 2017).

    The network it trains is small, as the paper's for MNIST (one layer of 20 units): the LSTM's
    memory for the unrolled steps is about 2 KB a step and weight, so that 20 steps of a Conv-4-64
    would take 5 GB a task.
    """

    card = LearnerCard(
        name="learned-optimizer",
        family="gradient",
        kinds=("classification", "regression"),
        knobs=(
            around("inner_steps", 20, 2),
            rate("meta_lr", 1e-3, 1),
            batch("meta_batch", 25, "regression"),
            batch("meta_batch", 1, "classification"),
            width("units", 20),
            width("hidden", 20),
        ),
        citation="Andrychowicz et al. 2016. Learning to Learn by Gradient Descent by Gradient "
        "Descent. NeurIPS.",
    )
    std: ClassVar[float] = 0.3

    inner_steps: Annotated[int, Field(ge=1, description="unrolled steps in meta-training")] = 20
    eval_steps: Annotated[
        int | None, Field(ge=1, description="steps at meta-test; None: as in meta-training")
    ] = None
    meta_batch: Annotated[
        int | None, Field(ge=1, description="tasks a step; None: 25 regression, 1 classification")
    ] = None
    backbone: Annotated[
        BackboneName | None, Field(description="None: Conv-4 on images, an MLP on the rest")
    ] = "mlp"
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 20
    units: Annotated[int, Field(ge=1, description="units of each LSTM layer")] = 20
    learned_start: Annotated[bool, Field(description="meta-learn the initial weights too")] = False

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Draw the LSTM, and the start of the meta-test."""
        super().setup(info, seed, device)
        self.steps_at_test = self.eval_steps or self.inner_steps
        self.batch = self.meta_batch or (25 if info.kind == "regression" else 1)
        self.buffers = {k: p.to(device) for k, p in self.first.items()}

    def meta_parameters(
        self, weights: dict[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The LSTM's weights, and the initial weights if they are learned."""
        self.first = {} if self.learned_start else weights
        units = self.units
        lstm: dict[str, Tensor] = {}
        for layer in range(LAYERS):
            inputs = 2 if layer == 0 else units
            size = (4 * units, inputs + units)
            lstm[f"lstm{layer}.weight"] = torch.randn(size, generator=generator) / math.sqrt(
                size[1]
            )
            # Input, forget, cell and output gate; remembering is where to start from.
            lstm[f"lstm{layer}.bias"] = torch.tensor([0.0, 1.0, 0.0, 0.0]).repeat_interleave(units)
        lstm["step.weight"] = torch.randn(1, units, generator=generator) / math.sqrt(units)
        lstm["step.bias"] = torch.zeros(1)
        return lstm | (weights if self.learned_start else {})

    @property
    def frozen(self) -> dict[str, Tensor]:
        """What is meta-learned, and where networks start that isn't."""
        return super().frozen | self.buffers

    @property
    def second_order(self) -> bool:
        """The gradients do not depend on the optimiser (figure 2, dashed edges)."""
        return False

    def start(self, meta: Parameters, support: Items) -> dict[str, Tensor]:
        """The initial weights, and the LSTM's state [layers * 2, weights, units]: zeros."""
        weights = {k: meta[k] for k in self.names}
        count = sum(p.numel() for p in weights.values())
        return weights | {"state": support.x.new_zeros(2 * LAYERS, count, self.units)}

    def slope(self, meta: Parameters, fast: Parameters, support: Items) -> dict[str, Tensor]:
        """The gradient in the weights."""
        return super().slope(meta, {k: fast[k] for k in self.names}, support)

    def updated(
        self, meta: Parameters, fast: Parameters, gradients: Parameters, step: int
    ) -> dict[str, Tensor]:
        """One step of the LSTM, on every coordinate."""
        x = preprocessed(torch.cat([gradients[k].flatten() for k in self.names]))
        state = []
        for layer in range(LAYERS):
            hidden, cell = fast["state"][2 * layer], fast["state"][2 * layer + 1]
            hidden, cell = lstm(
                meta[f"lstm{layer}.weight"], meta[f"lstm{layer}.bias"], x, hidden, cell
            )
            state += [hidden, cell]
            x = hidden
        steps = SCALE * F.linear(x, meta["step.weight"], meta["step.bias"]).squeeze(-1)
        sizes = [fast[k].numel() for k in self.names]
        moved = {
            k: fast[k] + part.view(fast[k].shape)
            for k, part in zip(self.names, steps.split(sizes), strict=True)
        }
        return moved | {"state": torch.stack(state)}

    def task_loss(self, meta: Parameters, support: Items, query: Items) -> Tensor:
        """Query losses after each step, averaged."""
        trajectory = self.trajectory(meta, support, self.inner_steps)
        next(trajectory)
        losses = [self.outer(meta, fast, support, query) for fast in trajectory]
        return torch.stack(losses).mean()

    def schedule(self, tasks: TaskStream) -> None:
        """Initial weights come from this step's generator."""
        self.draws = tasks.generator()

    def meta_gradient(
        self, meta: Parameters, episodes: Episodes
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Mean gradient and mean loss over the tasks, each from a start of its own."""
        learned = {k: meta[k] for k in self.parameters}
        starts: dict[str, Tensor] = {}
        if not self.learned_start:
            drawn = [self.network.init(self.draws) for _ in range(episodes.tasks)]
            starts = {k: torch.stack([d[k] for d in drawn]).to(meta[k]) for k in self.names}

        def one(
            support: Items, query: Items, start: Parameters
        ) -> tuple[dict[str, Tensor], Tensor]:
            return self.gradient_of(
                lambda p: self.task_loss({**p, **start}, support, query), learned
            )

        support, query = support_of(episodes.support), query_of(episodes)
        gradients, losses = self.lift(one)(support, query, starts)
        return {k: g.mean(0) for k, g in gradients.items()}, losses.mean()


def preprocessed(gradient: Tensor) -> Tensor:
    """Size and sign of gradients [n] on comparable scales [n, 2] (appendix A)."""
    size = gradient.abs().clamp_min(math.exp(-P)).log() / P
    sign = (gradient * math.exp(P)).clamp(-1, 1)
    return torch.stack([size, sign], dim=-1)


def lstm(
    weight: Tensor, bias: Tensor, x: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of inputs [n, I]: the next hidden and cell states [n, units]."""
    gates = F.linear(torch.cat([x, hidden], dim=-1), weight, bias)
    into, keep, new, out = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell
