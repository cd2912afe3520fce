"""Omniglot, 5- and 20-way, 1- and 5-shot: metric and gradient learners beside their papers.

    python benchmarks/reproduce/omniglot.py --only protonet-1-shot --seeds 3

Meta-training uses Lake's 30 background alphabets (964 characters, four rotations each), the test
his 20 evaluation alphabets (659 characters, four rotations each). The papers split the same 1,623
characters at random, so that alphabets are shared between training and test.
"""

from __future__ import annotations

from typing import Any

import torch
from common import Figure, Job, Score, Scores, Table, Track, accuracy, reproduce

from metabench.learners.contract import MetaLearner
from metabench.tasks import Shape
from metabench.tasks.omniglot import Omniglot

BACKGROUND = Omniglot(split="background", rotations=True)
EVALUATION = Omniglot(split="evaluation", rotations=True)
SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1), "20w5s": (20, 5)}
QUERY = 5
"""A class, at the test; the papers have 1 to 15, which changes the precision, not the mean."""
EPISODES = {"protonet": 1000, "matchingnet": 1000}
"""Of the test; 600 for the others, as in their papers."""
METRIC_ITERATIONS = 20_000
"""ProtoNet's paper stops early on validation, and its rate halves every 2,000 episodes, to 1e-6 by
here; for matching networks no number was found."""

Values = tuple[tuple[float | None, float | None], ...]


def plain(*values: float) -> Values:
    """Published without a spread."""
    return tuple((value, None) for value in values)


PUBLISHED: dict[str, tuple[str, Track, Values]] = {
    "protonet": ("Snell et al. 2017, table 1 [3P]", "inductive", plain(98.8, 99.7, 96.0, 98.9)),
    "matchingnet": (
        "Vinyals et al. 2016, table 1 [3P]",
        "inductive",
        plain(98.1, 98.9, 93.8, 98.5),
    ),
    "maml": ("", "inductive", ((None, None),) * 4),
    "maml-transductive": (
        "Finn et al. 2017, table 1 [3P]",
        "transductive",
        ((98.7, 0.4), (99.9, 0.1), (95.8, 0.3), (98.9, 0.2)),
    ),
    "fomaml": ("", "inductive", ((None, None),) * 4),
    "fomaml-transductive": (
        "Nichol et al. 2018, table 2 [3P]",
        "transductive",
        ((98.3, 0.5), (99.2, 0.2), (89.4, 0.5), (97.9, 0.1)),
    ),
}
"""Learner -> source, track, (value, spread) in the order of ``SETTINGS``."""
GATES = {"protonet": 97.0, "matchingnet": 96.0, "maml": 97.0, "reptile": 94.0}
"""5-way 1-shot at full length."""


def job_name(learner: str, setting: str) -> str:
    """ProtoNet's 60-way training serves both ways, as in the paper; others train for a setting."""
    return (
        f"protonet-{SETTINGS[setting][1]}-shot" if learner == "protonet" else f"{learner}-{setting}"
    )


def protonet(shot: int) -> Job:
    """60-way episodes of the test's shot with five queries a class."""
    shape = Shape(way=20, shot=shot, query=5)
    return Job(
        f"protonet-{shot}-shot", "protonet", BACKGROUND, shape, METRIC_ITERATIONS, max_way=20
    )


def matchingnet(setting: str) -> Job:
    """Training episodes like those of the test, 15 queries a class."""
    way, shot = SETTINGS[setting]
    shape = Shape(way=way, shot=shot, query=15)
    name = job_name("matchingnet", setting)
    return Job(name, "matchingnet", BACKGROUND, shape, METRIC_ITERATIONS, max_way=way)


def maml(learner: str, setting: str) -> Job:
    """5-way: 1 step, 3 at test, 32 tasks; 20-way: 5, 5 and 16. As many queries as shots."""
    way, shot = SETTINGS[setting]
    steps = {"inner_steps": 1, "eval_steps": 3, "meta_batch": 32}
    if way == 20:
        steps = {"inner_steps": 5, "eval_steps": 5, "meta_batch": 16}
    shape = Shape(way=way, shot=shot, query=shot)
    return Job(job_name(learner, setting), learner, BACKGROUND, shape, 60_000, steps, way)


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Accuracy in every setting that the job serves."""
    served = [f for f in TABLE.figures if f.job == job.name]
    episodes = EPISODES.get(job.learner, 600)
    measured = {}
    for figure in served:
        way, shot = SETTINGS[figure.setting]
        shape = Shape(way=way, shot=shot, query=QUERY)
        address = job.address("meta-test", figure.setting, seed)
        value = accuracy(learner, EVALUATION, shape, address, episodes, device)
        measured[figure.learner, figure.setting] = Score(value=value)
    return measured


TABLE = Table(
    name="omniglot",
    title="Omniglot",
    unit="accuracy, %",
    test=f"1,000 episodes (metric learners) or 600, {QUERY} queries a class",
    notes=(
        "Trained on Lake's background alphabets (964 characters x 4 rotations), tested on the "
        "evaluation alphabets (659 x 4). The papers split the characters at random, which shares "
        "alphabets between training and test, so theirs is the easier split."
    ),
    figures=tuple(
        Figure(
            learner,
            setting,
            job_name(learner, setting),
            value,
            spread,
            source,
            track,
            ("at least", GATES[learner]) if setting == "5w1s" and learner in GATES else None,
        )
        for learner, (source, track, values) in PUBLISHED.items()
        for setting, (value, spread) in zip(SETTINGS, values, strict=True)
    ),
    jobs=(
        protonet(1),
        protonet(5),
        *(matchingnet(setting) for setting in SETTINGS),
        *(
            maml(learner, setting)
            for learner in ("maml", "maml-transductive", "fomaml", "fomaml-transductive")
            for setting in SETTINGS
        ),
    ),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
