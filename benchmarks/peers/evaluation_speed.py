"""W5: evaluating episodes of 28x28 images: ProtoNet 5-way 5-shot, MAML 5-way 1-shot in 10 steps.

All sides are given the same drawn episodes, in the batches that metabench evaluates in, and end
with the accuracy. Each round takes the next batch, so that the rounds together are the evaluation.
MAML is metabench's ``maml-transductive``, as learn2learn normalises queries; learn2learn adapts
first-order, which at meta-test gives the same predictions for less work.

Then ProtoNet as the product evaluates it: 1,000 episodes from a pool as large as Omniglot's
evaluation set. Ours draws them and embeds each image it meets once, and all of that is timed; peers
are given ``GIVEN`` drawn episodes, as their time an episode does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import cycle
from typing import Any

import numpy as np
import torch
from libraries import peer
from maml_steps import our_step
from subjects import (
    ADDRESS,
    DrawnPool,
    Tasks,
    conv4,
    double,
    drawn_pool,
    float64,
    learner,
    to_double,
    variants,
    with_weights_of,
)
from timing import Row, Settings, Side, Step, compare, largest_difference
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.embeddings import Tables
from metabench.episodes import Episodes
from metabench.evaluation import chunks, evaluate
from metabench.learners.embedding import Embeds
from metabench.learners.trainable import Trainable
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor
from metabench.rng import Address
from metabench.scoring import score
from metabench.suite import Point
from metabench.tasks import Shape, TaskDistribution
from metabench.tasks.base import sample_indexed
from metabench.tasks.catalogue import Catalogue
from metabench.tasks.pool import ClassPool

EPISODES, GIVEN = 1000, 50
"""Of the evaluation from a pool: all of ours, and those that a peer is given."""
CLASSES = 659
"""Of the pool, 20 images each: as many as Omniglot's evaluation set has."""
QUERY, STEPS, RATE = 15, 10, 0.1
Evaluate = Callable[[Episodes], float]
"""Episodes -> accuracy."""
Logits = Callable[[Episodes], Tensor]
"""Episodes -> class scores [T, Q, W] of the same scale as metabench's."""


def learn2learn_protonet(network: nn.Module) -> tuple[Evaluate, Logits]:
    """Prototypes from the support's embeddings, in evaluation mode without gradients."""
    classifier = peer("learn2learn.nn").PrototypicalClassifier
    network.eval()

    def logits(e: Episodes) -> Tensor:
        with torch.no_grad():
            return torch.stack(
                [
                    classifier(network(e.support.x[t]), e.support.y[t])(network(e.query.x[t]))
                    for t in range(e.tasks)
                ]
            )

    return lambda e: accuracy(logits(e), e), logits


def easyfsl_protonet(network: nn.Module) -> tuple[Evaluate, Logits]:
    """EasyFSL's own ``evaluate``."""
    device = next(network.parameters()).device
    model = peer("easyfsl.methods").PrototypicalNetworks(network).to(device).eval()

    def evaluate(e: Episodes) -> float:
        loader = [
            (e.support.x[t], e.support.y[t], e.query.x[t], e.query_y[t], None)
            for t in range(e.tasks)
        ]
        return float(peer("easyfsl.utils").evaluate(model, loader, str(device), use_tqdm=False))

    def logits(e: Episodes) -> Tensor:
        outputs = []
        with torch.no_grad():
            for t in range(e.tasks):
                model.process_support_set(e.support.x[t], e.support.y[t])
                outputs.append(-model(e.query.x[t]).square())
        return torch.stack(outputs)

    return evaluate, logits


def learn2learn_maml(network: nn.Module) -> tuple[Evaluate, Logits]:
    """Clone, adapt first-order, predict."""
    maml = peer("learn2learn.algorithms").MAML(network, lr=RATE)

    def logits(e: Episodes) -> Tensor:
        outputs = []
        for t in range(e.tasks):
            clone = maml.clone(first_order=True)
            for _ in range(STEPS):
                clone.adapt(F.cross_entropy(clone(e.support.x[t]), e.support.y[t]))
            with torch.no_grad():
                outputs.append(clone(e.query.x[t]))
        return torch.stack(outputs)

    return lambda e: accuracy(logits(e), e), logits


class EvaluationPool(DrawnPool):
    """The first classes of the drawn pool."""

    def base_pool(self) -> ClassPool:
        """Selected once."""
        return evaluation_pool()


@lru_cache(maxsize=1)
def evaluation_pool() -> ClassPool:
    """uint8 [659, 20, 1, 28, 28]."""
    return drawn_pool().select(np.arange(CLASSES))


class DoublePool(EvaluationPool):
    """Whose images are float64 where each is embedded once."""

    def catalogue(self, address: Address) -> Catalogue:
        """The same images."""
        made = super().catalogue(address)
        return replace(made, fetch=lambda items, device: made.fetch(items, device).double())


PROTONET = {"learn2learn": learn2learn_protonet, "easyfsl": easyfsl_protonet}
MAML = {"learn2learn": learn2learn_maml}


def accuracy(logits: Tensor, e: Episodes) -> float:
    """Mean over all queries."""
    return float((logits.argmax(dim=-1) == e.query_y).float().mean())


def rows(settings: Settings) -> Iterator[Row]:
    """ProtoNet against both, MAML against learn2learn."""
    shape = Shape(way=5, shot=5, query=QUERY)
    options: dict[str, Any] = {"train_way": None, "train_query": None}
    work = "evaluation, ProtoNet, Conv-4-64, 5-way 5-shot, 15 queries"
    for library, make in PROTONET.items():
        yield measured(shape, work, library, make, "protonet", options, settings)
    work = f"{work}, {EPISODES:,} episodes of a pool of {CLASSES} x 20 images"
    for library, make in PROTONET.items():
        yield from_pool(shape, work, library, make, options, settings)
    shape = Shape(way=5, shot=1, query=QUERY)
    (_, options), *_ = variants("maml-transductive").items()
    options = {
        **options,
        "strided": False,
        "inner_lr": RATE,
        "eval_steps": STEPS,
        "meta_batch": 4,
    }
    work = f"evaluation, MAML, Conv-4-64, 5-way 1-shot, 15 queries, {STEPS} steps"
    for library, make in MAML.items():
        yield measured(shape, work, library, make, "maml-transductive", options, settings)


def measured(
    shape: Shape,
    work: str,
    library: str,
    make: Callable[[nn.Module], tuple[Evaluate, Logits]],
    name: str,
    options: dict[str, Any],
    settings: Settings,
) -> Row:
    """One row."""
    tasks = Tasks(DrawnPool(), shape, settings.device)
    point = Point("in distribution", 0, tasks.distribution, shape)
    size = len(next(chunks(point, settings.episodes)))
    rounds = max(1, round(settings.episodes / size))
    batches = tasks.batches(size)
    way = 0 if name == "protonet" else 5

    def theirs() -> Step:
        evaluate, _ = make(with_weights_of(conv4(way=way), trained(name, tasks, options)))
        coming = cycle(batches)
        return lambda: evaluate(next(coming))

    def ours() -> Step:
        predictor = LearnerPredictor(trained(name, tasks, options), settings.device)
        coming = cycle(batches)

        def step() -> None:
            episodes = next(coming)
            float(score(predictor(tasks.distribution, episodes), episodes).mean())

        return step

    row = Row(
        workload="W5",
        work=work,
        peer=library,
        ours=name,
        unit="episodes/s",
        agreement="class scores",
    )
    mine = Side("metabench", ours, size)
    used = replace(settings, rounds=rounds, all_rounds=True)
    if peer(library) is None:
        return compare(row, None, mine, used)
    subject = trained(name, tasks, options)
    with float64():
        to_double(subject)
        episodes = double(tasks.batches(4, 1)[0])
        _, logits = make(with_weights_of(conv4(way=way), subject))
        expected = LearnerPredictor(subject, settings.device)(tasks.distribution, episodes).output
        difference = largest_difference([(logits(episodes), expected)])
    row = row.model_copy(update={"difference": difference})
    return compare(row, Side(library, theirs, size), mine, used)


def from_pool(
    shape: Shape,
    work: str,
    library: str,
    make: Callable[[nn.Module], tuple[Evaluate, Logits]],
    options: dict[str, Any],
    settings: Settings,
) -> Row:
    """One row of a whole evaluation, from drawing episodes to the table of their scores."""
    tasks = Tasks(EvaluationPool(), shape, settings.device)
    point = Point("in distribution", 0, tasks.distribution, shape)
    given = tasks.batches(GIVEN, 1)[0]

    def theirs() -> Step:
        assess, _ = make(with_weights_of(conv4(), trained("protonet", tasks, options)))
        return lambda: assess(given)

    def ours() -> Step:
        predictor = LearnerPredictor(trained("protonet", tasks, options), settings.device)
        return lambda: evaluate(predictor, (point,), ADDRESS, EPISODES, Measures("accuracy"))

    row = Row(
        workload="W5",
        work=work,
        peer=library,
        ours="protonet, each image embedded once",
        unit="episodes/s",
        agreement="class scores",
    )
    mine = Side("metabench", ours, EPISODES)
    if peer(library) is None:
        return compare(row, None, mine, settings)
    subject = trained("protonet", tasks, options)
    with float64():
        to_double(subject)
        distribution: TaskDistribution = DoublePool()
        assert isinstance(subject, Embeds)
        table = Tables(subject, settings.device, ADDRESS).of(distribution)
        assert table is not None
        indexed = sample_indexed(distribution, shape, ADDRESS, range(4))
        _, logits = make(with_weights_of(conv4(), subject))
        expected = logits(double(tasks.batches(4, 1)[0]))
        difference = largest_difference([(expected, table(distribution, indexed).output)])
    row = row.model_copy(update={"difference": difference})
    return compare(row, Side(library, theirs, GIVEN), mine, settings)


def trained(name: str, tasks: Tasks, options: dict[str, Any]) -> Trainable[Any]:
    """A learner after three meta-steps, so that its running statistics are not those of nothing."""
    subject: Any = learner(name, tasks, **options)
    step = our_step(subject, tasks, tasks.batches(subject.batch))
    for _ in range(3):
        step()
    made: Trainable[Any] = subject
    return made
