"""Omniglot, all characters of an episode from one alphabet against any characters.

    python benchmarks/reproduce/omniglot_within.py --seeds 3

ProtoNet is that of ``omniglot.py`` on Lake's split; its checkpoints are used where the folder
holds them.
"""

from __future__ import annotations

from typing import Any

import torch
from common import Figure, Job, Score, Scores, Table, accuracy, reproduce
from omniglot import TABLE as OMNIGLOT

from metabench.learners.contract import MetaLearner
from metabench.tasks import Shape
from metabench.tasks.omniglot import Omniglot

TEST = {
    "any characters": Omniglot(split="evaluation"),
    "within an alphabet": Omniglot(split="evaluation", within_group=True),
}
WAYS = {"20w1s": 20, "5w1s": 5}
SIAMESE = {
    ("20w1s", "any characters"): 10.7,
    ("20w1s", "within an alphabet"): 24.2,
    ("5w1s", "any characters"): 3.5,
    ("5w1s", "within an alphabet"): 9.5,
}
EPISODES = 600


def setting(way: str, where: str) -> str:
    """Its name in the table."""
    return f"{way}, {where}"


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Error in percent."""
    measured = {}
    for way, classes in WAYS.items():
        shape = Shape(way=classes, shot=1, query=1)
        for where, test in TEST.items():
            address = job.address("within", way, where, seed)
            right = accuracy(learner, test, shape, address, EPISODES, device)
            measured[job.learner, setting(way, where)] = Score(value=100 - right)
    return measured


TABLE = Table(
    name="omniglot_within",
    title="Omniglot within an alphabet",
    unit="error, %",
    test=f"{EPISODES} episodes of the 20 evaluation alphabets, one query a class",
    notes=(
        "Characters of one alphabet are harder to tell apart than characters of any two, so that "
        "an error without the protocol says little. The siamese network's row is another learner, "
        "for the ratio."
    ),
    figures=(
        *(
            Figure("protonet", setting(way, where), "protonet-1-shot")
            for way in WAYS
            for where in TEST
        ),
        *(
            Figure("siamese network", setting(*key), value=value, source="jvlmdr/omniglot-eval [R]")
            for key, value in SIAMESE.items()
        ),
    ),
    jobs=(OMNIGLOT.job("protonet-1-shot"),),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
