"""MAML on sinusoids at full length, beside the table of Finn et al. 2017 (5-shot, appendix).

    python benchmarks/reproduce/sinusoid_maml.py --seeds 3 --workers 2

A job is named by its shots. A learner that was trained for one step may blow up on a task when it
takes ten: such tasks (risk above 100, where predicting zero has 4.25) are counted beside the mean
of the others.
"""

from __future__ import annotations

from typing import Any

import torch
from common import Figure, Job, Score, Scores, Table, reproduce

from metabench.learners.contract import MetaLearner
from metabench.learners.gradient.maml import Maml
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid

SHOTS = (5, 10)
STEPS = (0, 1, 5, 10)
PUBLISHED = {(5, 1): 0.67, (5, 5): 0.38, (5, 10): 0.35}
GATES = {(5, 1): 1.0, (5, 10): 0.6}
TEST_TASKS = 600
DIVERGED = 100.0


def setting(shot: int, steps: int) -> str:
    """``5-shot, 1 step``."""
    return f"{shot}-shot, {steps} step{'' if steps == 1 else 's'}"


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Mean squared error of the tasks that did not diverge, and how many did."""
    assert isinstance(learner, Maml)
    shot = int(job.name)
    shape = Shape(shot=shot, query=100)
    tasks = range(TEST_TASKS)
    test = sample(job.source, shape, job.address("meta-test", seed), tasks, device)
    measured = {}
    for steps in STEPS:
        learner.steps_at_test = steps
        output = learner.predict(learner.adapt(test.support), test.query).output
        risk = (output - test.query_y).double().square().mean(dim=(1, 2))
        sound = risk < DIVERGED
        measured["maml", setting(shot, steps)] = Score(
            value=float(risk[sound].mean()), diverged=int((~sound).sum())
        )
    return measured


TABLE = Table(
    name="sinusoid_maml",
    title="Sinusoid, MAML",
    unit="mean squared error",
    digits=3,
    test=f"{TEST_TASKS} tasks, 100 queries each",
    notes=(
        "Settings of Finn et al. 2017: MLP 40-40, one inner step of 0.01, 25 tasks a step, Adam "
        "at 1e-3. Predicting zero scores 4.25; the best predictor that ignores the support set "
        "scores 3.005. Tasks with an error above 100 count as diverged and are left out of the "
        "mean. No readable 10-shot figures were published."
    ),
    figures=tuple(
        Figure(
            "maml",
            setting(shot, steps),
            job=str(shot),
            value=PUBLISHED.get((shot, steps)),
            source="Finn et al. 2017, table 2 [3P]" if (shot, steps) in PUBLISHED else "",
            gate=("at most", GATES[shot, steps]) if (shot, steps) in GATES else None,
        )
        for shot in SHOTS
        for steps in STEPS
    ),
    jobs=tuple(
        Job(str(shot), "maml", Sinusoid(), Shape(shot=shot, query=shot), iterations=70_000)
        for shot in SHOTS
    ),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
