"""W2: MAML on Conv-4-64, 28x28, 5-way 1-shot, 15 queries, 5 inner steps, second order, 4 tasks.

learn2learn's batch normalisation normalises the queries of a task by their own statistics, so the
same work is metabench's ``maml-transductive``; the inductive ``maml``, which normalises them by
those of the support set, does one pass over the support more and gives another gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from libraries import peer
from maml_steps import gradient_difference, learn2learn_step, our_step
from subjects import DrawnPool, Tasks, conv4, learner, variants, with_weights_of
from timing import Row, Settings, Side, Step, compare

from metabench.tasks import Shape

TASKS, WAY, STEPS = 4, 5, 5
OPTIONS: dict[str, Any] = {"meta_batch": TASKS, "inner_steps": STEPS, "inner_lr": 0.1}


def rows(settings: Settings) -> Iterator[Row]:
    """Pooled and strided Conv-4; ours as it is, and, pooled, compiled."""
    tasks = Tasks(DrawnPool(), Shape(way=WAY, shot=1, query=15), settings.device)
    pooled: dict[str, Any] = {"strided": False}
    for label, options in variants("maml-transductive").items():
        yield measured(tasks, label, {**pooled, **options}, settings)
    (label, options), *_ = variants("maml").items()
    yield measured(tasks, label, {**pooled, **options}, settings)
    (label, options), *_ = variants("maml-transductive").items()
    yield measured(tasks, label, {"strided": True, **options}, settings)


def measured(tasks: Tasks, label: str, options: dict[str, Any], settings: Settings) -> Row:
    """One row."""
    name, _, _ = label.partition(",")
    options = {**OPTIONS, **options}
    strided = bool(options["strided"])

    def theirs() -> Step:
        network = with_weights_of(conv4(way=WAY, strided=strided), learner(name, tasks, **options))
        return learn2learn_step(network, tasks.batches(TASKS), 0.1, STEPS)

    def ours() -> Step:
        return our_step(learner(name, tasks, **options), tasks, tasks.batches(TASKS))

    halving = "strides" if strided else "pooling"
    row = Row(
        workload="W2",
        work=f"MAML, Conv-4-64 with {halving}, 28x28, 5-way 1-shot, {STEPS} inner steps, "
        f"{TASKS} tasks, second order",
        peer="learn2learn",
        ours=label,
        agreement="meta-gradient",
    )
    mine = Side("metabench", ours, TASKS)
    if peer("learn2learn") is None:
        return compare(row, None, mine, settings)
    if name == "maml":
        row = row.model_copy(update={"agreement": "none: other normalisation of the queries"})
    else:
        network = conv4(way=WAY, strided=strided)
        difference = gradient_difference(name, options, network, tasks, "learn2learn")
        row = row.model_copy(update={"difference": difference})
    return compare(row, Side("learn2learn", theirs, TASKS), mine, settings)
