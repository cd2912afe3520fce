"""Omniglot, 5- and 20-way, 1- and 5-shot: metric and gradient learners beside their papers.

    python benchmarks/reproduce/omniglot.py --only matchingnet-5w1s --seeds 3

The split is that of Vinyals et al. 2016, with four rotations of each character: alphabets are
shared between training and test. ProtoNet is also trained on Lake's 30 background alphabets and
tested on his 20 evaluation alphabets (``protonet-1-shot``), which is harder, and which ``lake.py``
builds on.
"""

from __future__ import annotations

from typing import Any

import torch
from common import Figure, Job, Score, Scores, Table, Track, accuracy, reproduce

from metabench.learners.contract import MetaLearner
from metabench.records import Parameter
from metabench.tasks import Shape
from metabench.tasks.omniglot import Omniglot

VINYALS = (
    Omniglot(split="vinyals-train", rotations=True),
    Omniglot(split="vinyals-test", rotations=True),
)
LAKE = Omniglot(split="background", rotations=True), Omniglot(split="evaluation", rotations=True)
"""Training and test."""
SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1), "20w5s": (20, 5)}
QUERY = 5
"""A class, at the test; the papers have 1 to 15, which changes the precision, not the mean."""
EPISODES = {"protonet": 1000, "matchingnet": 1000}
"""Of the test; 600 for the others, as in their papers."""
METRIC_ITERATIONS = 20_000
"""ProtoNet's paper stops early on validation, and its rate halves every 2,000 episodes, to 1e-6 by
here; for matching networks no number was found."""

ON_LAKE = ", Lake's split"
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
    "reptile": (
        "Nichol et al. 2018, table 2 [3P]",
        "inductive",
        ((95.39, 0.09), (98.90, 0.10), (88.14, 0.15), (96.65, 0.33)),
    ),
    "reptile-transductive": (
        "Nichol et al. 2018, table 2 [3P]",
        "transductive",
        ((97.68, 0.04), (99.48, 0.06), (89.43, 0.14), (97.12, 0.32)),
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


def reptile_parameters(
    inner_batch: int,
    inner_steps: int,
    inner_lr: float,
    meta_batch: int,
    meta_lr: float,
    train_shot: int,
    eval_steps: int,
) -> dict[str, Parameter]:
    """In the order of the authors' commands."""
    return {
        "inner_batch": inner_batch,
        "inner_steps": inner_steps,
        "inner_lr": inner_lr,
        "meta_batch": meta_batch,
        "meta_lr": meta_lr,
        "train_shot": train_shot,
        "eval_steps": eval_steps,
    }


REPTILE: dict[str, tuple[int, dict[str, Parameter]]] = {
    "5w1s": (200_000, reptile_parameters(5, 12, 4.4e-4, 3, 1.0, 12, 86)),
    "5w5s": (100_000, reptile_parameters(10, 5, 1.5e-3, 5, 0.7, 10, 100)),
    "20w1s": (200_000, reptile_parameters(15, 12, 4.6e-4, 3, 1.0, 9, 97)),
    "20w5s": (200_000, reptile_parameters(20, 12, 4.6e-4, 3, 1.0, 12, 97)),
}
"""Of the authors' commands (openai/supervised-reptile [R]); at the test their batches are of 5 to
10 items, ours of all."""
TRANSDUCTIVE_REPTILE = 100_000, reptile_parameters(25, 3, 1e-3, 10, 1.0, 15, 5)
"""Their only transductive command, 5w1s; elsewhere the inductive one's settings are used."""


def job_name(learner: str, setting: str) -> str:
    """ProtoNet's 60-way training serves both ways, as in the paper; others train for a setting."""
    if learner == "protonet":
        return f"protonet-{SETTINGS[setting][1]}-shot-vinyals"
    return f"{learner}-{setting}"


def protonet(shot: int, lake: bool) -> Job:
    """60-way episodes of the test's shot with five queries a class."""
    name = f"protonet-{shot}-shot" if lake else f"protonet-{shot}-shot-vinyals"
    source = (LAKE if lake else VINYALS)[0]
    shape = Shape(way=20, shot=shot, query=5)
    return Job(name, "protonet", source, shape, METRIC_ITERATIONS, max_way=20)


def matchingnet(setting: str) -> Job:
    """Training episodes like those of the test, 15 queries a class."""
    way, shot = SETTINGS[setting]
    shape = Shape(way=way, shot=shot, query=15)
    name = job_name("matchingnet", setting)
    return Job(name, "matchingnet", VINYALS[0], shape, METRIC_ITERATIONS, max_way=way)


def maml(learner: str, setting: str) -> Job:
    """5-way: 1 step, 3 at test, 32 tasks; 20-way: 5, 5 and 16. As many queries as shots."""
    way, shot = SETTINGS[setting]
    steps: dict[str, Parameter] = {"inner_steps": 1, "eval_steps": 3, "meta_batch": 32}
    if way == 20:
        steps = {"inner_steps": 5, "eval_steps": 5, "meta_batch": 16}
    shape = Shape(way=way, shot=shot, query=shot)
    return Job(job_name(learner, setting), learner, VINYALS[0], shape, 60_000, steps, way)


def reptile(learner: str, setting: str) -> Job:
    """The settings above."""
    way, shot = SETTINGS[setting]
    iterations, parameters = REPTILE[setting]
    if learner == "reptile-transductive" and setting == "5w1s":
        iterations, parameters = TRANSDUCTIVE_REPTILE
    shape = Shape(way=way, shot=shot, query=1)
    name = job_name(learner, setting)
    return Job(name, learner, VINYALS[0], shape, iterations, parameters, way)


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Accuracy in every setting that the job serves."""
    test = LAKE[1] if job.source == LAKE[0] else VINYALS[1]
    episodes = EPISODES.get(job.learner, 600)
    measured = {}
    for figure in TABLE.figures:
        if figure.job == job.name:
            name = figure.setting.removesuffix(ON_LAKE)
            way, shot = SETTINGS[name]
            shape = Shape(way=way, shot=shot, query=QUERY)
            address = job.address("meta-test", name, seed)
            value = accuracy(learner, test, shape, address, episodes, device)
            measured[figure.learner, figure.setting] = Score(value=value)
    return measured


TABLE = Table(
    name="omniglot",
    title="Omniglot",
    unit="accuracy, %",
    test=f"1,000 episodes (metric learners) or 600, {QUERY} queries a class",
    notes=(
        "The split of Vinyals et al. 2016, 1,028 training and 423 test characters, four rotations "
        "each, which shares alphabets between training and test; MAML's and Reptile's papers split "
        "the characters at random. Lake's split trains on the 964 characters of the background "
        "alphabets and tests on the 659 of the evaluation alphabets, four rotations each; nothing "
        "was published for it. MAML's inner rate is 0.5 on the mean loss, where the paper's "
        "amounts to 2. No checkpoint is chosen by validation."
    ),
    figures=(
        *(
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
        *(
            Figure("protonet", setting + ON_LAKE, f"protonet-{shot}-shot")
            for setting, (_, shot) in SETTINGS.items()
        ),
    ),
    jobs=(
        *(protonet(shot, lake) for lake in (False, True) for shot in (1, 5)),
        *(matchingnet(setting) for setting in SETTINGS),
        *(
            maml(learner, setting)
            for learner in ("maml", "maml-transductive", "fomaml", "fomaml-transductive")
            for setting in SETTINGS
        ),
        *(
            reptile(learner, setting)
            for learner in ("reptile", "reptile-transductive")
            for setting in SETTINGS
        ),
    ),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
