"""W1: MAML on the sinusoid of Finn et al. 2017, second order, one inner step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from libraries import peer
from maml_steps import STEPS, gradient_difference, our_step
from subjects import Tasks, learner, mlp, variants, with_weights_of
from timing import Row, Settings, Side, Step, compare

from metabench.tasks import Shape
from metabench.tasks.sinusoid import Sinusoid

TASKS = 25


def rows(settings: Settings) -> Iterator[Row]:
    """Against learn2learn and higher; ours as it is, and compiled."""
    tasks = Tasks(Sinusoid(), Shape(shot=10, query=10), settings.device)
    for label, options in variants("maml").items():
        for library in STEPS:
            yield measured(tasks, library, label, options, settings)


def measured(
    tasks: Tasks, library: str, label: str, options: dict[str, Any], settings: Settings
) -> Row:
    """One row."""
    options = {"meta_batch": TASKS, **options}

    def theirs() -> Step:
        subject = learner("maml", tasks, **options)
        network = with_weights_of(mlp(), subject)
        return STEPS[library](network, tasks.batches(TASKS), 0.01, 1)

    def ours() -> Step:
        return our_step(learner("maml", tasks, **options), tasks, tasks.batches(TASKS))

    row = Row(
        workload="W1",
        work=f"MAML, sinusoid: MLP 40-40, 10-shot, 1 inner step, {TASKS} tasks, second order",
        peer=library,
        ours=label,
        agreement="meta-gradient",
    )
    mine = Side("metabench", ours, TASKS)
    if peer(library) is None:
        return compare(row, None, mine, settings)
    difference = gradient_difference("maml", options, mlp(), tasks, library)
    row = row.model_copy(update={"difference": difference})
    return compare(row, Side(library, theirs, TASKS), mine, settings)
