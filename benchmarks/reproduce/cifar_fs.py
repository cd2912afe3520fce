"""CIFAR-FS (Bertinetto et al. 2019), 5-way: ProtoNet, R2-D2, MAML and ANIL beside their figures.

python benchmarks/reproduce/cifar_fs.py --only protonet-5w1s --seeds 3
"""

from __future__ import annotations

from typing import Any

import torch
from common import Figure, Job, Score, Scores, Table, Track, accuracy, reproduce

from metabench.learners.contract import MetaLearner
from metabench.records import Parameter
from metabench.tasks import Shape
from metabench.tasks.cifar_fs import CifarFs

TRAIN = CifarFs(split="train")
TEST = CifarFs(split="test")
SHOTS = {"5w1s": 1, "5w5s": 5}
QUERY = 15
EPISODES = 600
BERTINETTO = "Bertinetto et al. 2019, table 2 [3P]"
PUBLISHED: dict[tuple[str, str], tuple[float, float | None, str]] = {
    ("protonet", "5w1s"): (55.5, 0.7, BERTINETTO),
    ("protonet", "5w5s"): (72.0, 0.6, BERTINETTO),
    ("r2d2", "5w1s"): (60.0, 0.7, BERTINETTO),
    ("r2d2", "5w5s"): (76.1, 0.6, BERTINETTO),
    ("maml-transductive", "5w1s"): (58.9, 1.9, BERTINETTO),
    ("maml-transductive", "5w5s"): (71.5, 1.0, BERTINETTO),
    ("anil", "5w5s"): (68.3, None, "learn2learn's table, queries normalised together [R]"),
}
METRIC = ("protonet", "r2d2")
GRADIENT = ("maml", "maml-transductive", "anil")


def figure(learner: str, setting: str) -> Figure:
    """What was published, if anything."""
    value, spread, source = PUBLISHED.get((learner, setting), (None, None, ""))
    track: Track = "transductive" if learner.endswith("transductive") else "inductive"
    return Figure(learner, setting, f"{learner}-{setting}", value, spread, source, track)


def metric(learner: str, setting: str) -> Job:
    """More classes in training than at the test: 30 for 1 shot, 20 for 5 (Snell et al. 2017)."""
    shot = SHOTS[setting]
    parameters: dict[str, Parameter] = {"train_way": 30 if shot == 1 else 20, "train_query": 15}
    shape = Shape(way=5, shot=shot, query=15)
    return Job(f"{learner}-{setting}", learner, TRAIN, shape, 20_000, parameters, 5)


def gradient(learner: str, setting: str) -> Job:
    """The miniImageNet settings of Finn et al. 2017: pooling, 32 filters, 5 steps, 10 at test.

    Their rate of 0.01 multiplies a loss summed over the 5 classes: 0.05 on the mean.
    """
    shot = SHOTS[setting]
    parameters: dict[str, Parameter] = {
        "filters": 32,
        "strided": False,
        "inner_lr": 0.05,
        "inner_steps": 5,
        "eval_steps": 10,
        "meta_batch": 4 if shot == 1 else 2,
    }
    shape = Shape(way=5, shot=shot, query=15)
    return Job(f"{learner}-{setting}", learner, TRAIN, shape, 60_000, parameters, 5)


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Accuracy in the setting the job is for."""
    setting = job.name.rpartition("-")[2]
    shape = Shape(way=5, shot=SHOTS[setting], query=QUERY)
    address = job.address("meta-test", seed)
    value = accuracy(learner, TEST, shape, address, EPISODES, device)
    return {(job.learner, setting): Score(value=value)}


TABLE = Table(
    name="cifar_fs",
    title="CIFAR-FS",
    unit="accuracy, %",
    test=f"{EPISODES} episodes, {QUERY} queries a class, of the 20 test classes",
    notes=(
        "Conv-4 with 64 filters (ProtoNet, R2-D2) or 32 (MAML, ANIL), trained on the 64 training "
        "classes. The published MAML and ANIL normalise a query together with the others. A "
        "reimplementation of MAML has 56.8 and 70.8 (ArnoutDevos/maml-cifar-fs [R])."
    ),
    figures=tuple(
        figure(learner, setting) for learner in (*METRIC, *GRADIENT) for setting in SHOTS
    ),
    jobs=(
        *(metric(learner, setting) for learner in METRIC for setting in SHOTS),
        *(gradient(learner, setting) for learner in GRADIENT for setting in SHOTS),
    ),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
