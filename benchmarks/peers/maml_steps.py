"""A step of MAML by each library, from the same weights and episodes: what W1 and W2 time.

Every step ends with the same update: Adam on the mean over tasks of the mean query loss.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from libraries import peer
from subjects import (
    Tasks,
    double,
    float64,
    gradients_of,
    learner,
    paired,
    to_double,
    with_weights_of,
)
from timing import Step, largest_difference
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.episodes import Episodes
from metabench.learners.trainable import Trainable

MakeStep = Callable[[nn.Module, list[Episodes], float, int], Step]
"""(network, batches, inner rate, inner steps) -> a step."""


def loss_of(episodes: Episodes) -> Callable[[Tensor, Tensor], Tensor]:
    """The reduction that metabench has too: a mean over items, and over D."""
    return F.mse_loss if episodes.support.kind == "regression" else F.cross_entropy


def learn2learn_step(network: nn.Module, batches: list[Episodes], rate: float, steps: int) -> Step:
    """As in learn2learn's examples: clone, adapt and backpropagate task by task."""
    maml = peer("learn2learn.algorithms").MAML(network, lr=rate)
    optimiser = torch.optim.Adam(maml.parameters(), lr=1e-3)
    coming = cycle(batches)

    def step() -> None:
        episodes = next(coming)
        loss = loss_of(episodes)
        s, q = episodes.support, episodes.query
        optimiser.zero_grad()
        for t in range(episodes.tasks):
            clone = maml.clone()
            for _ in range(steps):
                clone.adapt(loss(clone(s.x[t]), s.y[t]))
            (loss(clone(q.x[t]), episodes.query_y[t]) / episodes.tasks).backward()
        optimiser.step()

    return step


def higher_step(network: nn.Module, batches: list[Episodes], rate: float, steps: int) -> Step:
    """As in higher's examples: a differentiable SGD in a context of every task's own."""
    higher: Any = peer("higher")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    inner = torch.optim.SGD(network.parameters(), lr=rate)
    coming = cycle(batches)

    def step() -> None:
        episodes = next(coming)
        loss = loss_of(episodes)
        s, q = episodes.support, episodes.query
        optimiser.zero_grad()
        for t in range(episodes.tasks):
            with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (fast, sgd):
                for _ in range(steps):
                    sgd.step(loss(fast(s.x[t]), s.y[t]))
                (loss(fast(q.x[t]), episodes.query_y[t]) / episodes.tasks).backward()
        optimiser.step()

    return step


STEPS: dict[str, MakeStep] = {"learn2learn": learn2learn_step, "higher": higher_step}


def our_step(subject: Trainable[Any], tasks: Tasks, batches: list[Episodes]) -> Step:
    """The product's own meta-training loop, fed from memory."""
    fitting: Any = subject
    log = fitting.meta_fit(tasks.replay(batches), 0)
    return lambda: next(log)


def gradient_difference(
    name: str, options: dict[str, Any], network: nn.Module, tasks: Tasks, library: str
) -> float:
    """Of the meta-gradients of one batch in float64, both as their steps leave them."""
    with float64():
        subject = learner(name, tasks, **options)
        to_double(subject)
        batches = [double(b) for b in tasks.batches(subject_batch(subject), 1)]
        network = with_weights_of(network, subject)
        fields: Any = subject
        STEPS[library](network, batches, fields.lr, fields.inner_steps)()
        our_step(subject, tasks, batches)()
    ours = {k: p.grad for k, p in subject.parameters.items() if p.grad is not None}
    return largest_difference(paired(gradients_of(network), ours))


def subject_batch(subject: Trainable[Any]) -> int:
    """Tasks in a meta-step."""
    fields: Any = subject
    return int(fields.batch)
