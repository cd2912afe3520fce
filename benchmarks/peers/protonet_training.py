"""W3: a meta-training step of a prototypical network on Conv-4-64, 28x28, 15 queries a class.

metabench and learn2learn's example normalise support and query of a step together; EasyFSL embeds
them one after the other, so each has statistics of its own. Its gradient is compared with that of
metabench's embedding, head and loss called in EasyFSL's order. EasyFSL's scores are Euclidean
distances; they are squared here, as in the paper and in the other two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import torch
from libraries import peer
from maml_steps import our_step
from subjects import (
    DrawnPool,
    Tasks,
    conv4,
    double,
    float64,
    gradients_of,
    learner,
    paired,
    to_double,
    with_weights_of,
)
from timing import Row, Settings, Side, Step, compare, largest_difference
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.episodes import Episodes
from metabench.tasks import Shape

SHAPES = ((5, 1), (5, 5), (20, 1), (20, 5))


def learn2learn_step(network: nn.Module, batches: list[Episodes]) -> Step:
    """As in learn2learn's example, with the episodes of a step embedded in one call."""
    classifier = peer("learn2learn.nn").PrototypicalClassifier
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    coming = cycle(batches)

    def step() -> None:
        episodes = next(coming)
        s, q = episodes.support, episodes.query
        both = torch.cat([s.x, q.x], dim=1)
        z = network(both.flatten(0, 1)).unflatten(0, both.shape[:2])
        shots = s.x.shape[1]
        losses = [
            F.cross_entropy(classifier(z[t, :shots], s.y[t])(z[t, shots:]), episodes.query_y[t])
            for t in range(episodes.tasks)
        ]
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        optimiser.step()

    return step


def easyfsl_step(network: nn.Module, batches: list[Episodes]) -> Step:
    """As in EasyFSL's tutorial: process the support set, then call the model on the queries."""
    model = peer("easyfsl.methods").PrototypicalNetworks(network).to(_device(network))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    coming = cycle(batches)

    def step() -> None:
        episodes = next(coming)
        s, q = episodes.support, episodes.query
        optimiser.zero_grad()
        for t in range(episodes.tasks):
            model.process_support_set(s.x[t], s.y[t])
            logits = -model(q.x[t]).square()
            (F.cross_entropy(logits, episodes.query_y[t]) / episodes.tasks).backward()
        optimiser.step()

    return step


PEERS: dict[str, Callable[[nn.Module, list[Episodes]], Step]] = {
    "learn2learn": learn2learn_step,
    "easyfsl": easyfsl_step,
}


def rows(settings: Settings) -> Iterator[Row]:
    """Every shape against both, one episode a step; four a step against learn2learn."""
    for way, shot in SHAPES:
        tasks = Tasks(DrawnPool(), Shape(way=way, shot=shot, query=15), settings.device)
        for library in PEERS:
            yield measured(tasks, library, 1, settings)
        yield measured(tasks, "learn2learn", 4, settings)


def measured(tasks: Tasks, library: str, episodes: int, settings: Settings) -> Row:
    """One row."""
    options = {
        "meta_batch": episodes,
        "train_way": None,
        "train_query": None,
        "halve_every": None,
    }

    def theirs() -> Step:
        network = with_weights_of(conv4(), learner("protonet", tasks, **options))
        return PEERS[library](network, tasks.batches(episodes))

    def ours() -> Step:
        return our_step(learner("protonet", tasks, **options), tasks, tasks.batches(episodes))

    shape = tasks.shape
    row = Row(
        workload="W3",
        work=f"ProtoNet training, Conv-4-64, {shape.way}-way {shape.shot}-shot, "
        f"{episodes} episode{'s' * (episodes > 1)} a step",
        peer=library,
        ours="protonet",
        unit="episodes/s",
        agreement="gradient" if library == "learn2learn" else "gradient, in EasyFSL's order",
    )
    mine = Side("metabench", ours, episodes)
    if peer(library) is None:
        return compare(row, None, mine, settings)
    difference = gradient_difference(tasks, library, options)
    row = row.model_copy(update={"difference": difference})
    return compare(row, Side(library, theirs, episodes), mine, settings)


def gradient_difference(tasks: Tasks, library: str, options: dict[str, Any]) -> float:
    """Of one step's gradients in float64."""
    with float64():
        subject: Any = learner("protonet", tasks, **options)
        to_double(subject)
        batches = [double(b) for b in tasks.batches(subject.batch, 1)]
        network = with_weights_of(conv4(), subject)
        PEERS[library](network, batches)()
        if library == "learn2learn":
            our_step(subject, tasks, batches)()
        else:
            _apart(subject, batches[0]).backward()
    ours = {k: p.grad for k, p in subject.parameters.items()}
    return largest_difference(paired(gradients_of(network), ours))


def _apart(subject: Any, episodes: Episodes) -> Tensor:
    """metabench's loss with support and query normalised one after the other."""
    z_support, _ = subject.embed(subject.parameters, episodes.support.x, None)
    z_query, _ = subject.embed(subject.parameters, episodes.query.x, None)
    head = subject.fit(subject.parameters, z_support, episodes.support)
    loss: Tensor = subject.loss(subject.scores(subject.parameters, head, z_query), episodes)
    return loss


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
