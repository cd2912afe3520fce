"""MANN and LSTM on Omniglot sequences, by how often the class was seen (Santoro et al. 2016).

    python benchmarks/reproduce/mann.py --only mann --seeds 3

A sequence has 5 classes with 10 images each in random order; image t comes with the label of image
t - 1, one-hot, shuffled per sequence. Scored is the prediction before the label comes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from common import Figure, Job, Score, Scores, Table, reproduce
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Support, mask_absent_classes
from metabench.learners.contract import MetaLearner
from metabench.learners.memory.sequence import SequenceLearner
from metabench.tasks import Shape, sample
from metabench.tasks.omniglot import Omniglot, Split
from metabench.tasks.pool import ClassPool

SIDE = 20
WAY, SHOT = 5, 10
NTH = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "10th": 10}
ITERATIONS = 100_000
"""The paper's episodes, each read as a step of 16 sequences, as ntm-one-shot counts them."""
TEST_SEQUENCES = 1_000
BATCH = 100
CHANCE = ("first step", "labels shuffled")

PUBLISHED = {
    "human": ((34.5, 57.3, 70.1, 71.8, 81.4, 92.4), "Santoro et al. 2016, table 1 [M]"),
    "feedforward": ((24.4, 19.6, 21.1, 19.9, 22.8, 19.5), "Santoro et al. 2016, table 1 [M]"),
    "lstm": ((24.4, 49.5, 55.3, 61.0, 63.6, 62.5), "Santoro et al. 2016, table 1 [3P]"),
    "mann": ((36.4, 82.8, 91.0, 92.6, 94.9, 98.1), "Santoro et al. 2016, table 1 [3P]"),
    "lstm, ntm-one-shot": ((30.4, 77.9, 85.3, 87.5, 88.8, 91.6), "its README [R]"),
    "mann, ntm-one-shot": ((35.4, 89.2, 95.2, 96.3, 96.9, 97.8), "its README [R]"),
}
GATES = {"1st": ("at most", 45.0), "2nd": ("at least", 75.0), "10th": ("at least", 95.0)}


class SmallOmniglot(Omniglot):
    """Images of 20 x 20, as in the paper."""

    version: ClassVar[int] = 1

    def base_pool(self) -> ClassPool:
        """All characters of the split, reduced by averaging areas."""
        return _reduced(self.split)


@lru_cache(maxsize=2)
def _reduced(split: Split) -> ClassPool:
    pool = Omniglot(split=split).base_pool()
    images = F.adaptive_avg_pool2d(pool.images.flatten(0, 1).float(), SIDE).round().byte()
    images = images.unflatten(0, pool.images.shape[:2])
    return ClassPool.of(images, pool.group, pool.class_names, pool.group_names)


def right(learner: SequenceLearner[Any], support: Support, y: Tensor) -> Tensor:
    """[T, S]: whether each image was named before its label came; the labels given are others'."""
    with torch.no_grad():
        p = learner.frozen
        output, _ = learner.read_support(p, learner.start(p, support), support)
    return mask_absent_classes(output, support.way).argmax(-1) == y


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Accuracy in percent by presentation, and two that are at chance if labels come late."""
    assert isinstance(learner, SequenceLearner)
    generator = job.address("shuffle", seed).torch_generator()
    hits, blind, nth = [], [], []
    for start in range(0, TEST_SEQUENCES, BATCH):
        indices = range(start, start + BATCH)
        address = job.address("meta-test", seed)
        s = sample(EVALUATION, job.shape, address, indices, device).support
        nth.append((s.y[:, :, None] == s.y[:, None]).tril().sum(-1))
        hits.append(right(learner, s, s.y))
        order = torch.rand(s.y.shape, generator=generator).argsort(dim=1).to(device)
        blind.append(right(learner, replace(s, y=s.y.gather(1, order)), s.y))
    hit, seen = torch.cat(hits).double(), torch.cat(nth)
    values = {setting: hit[seen == n] for setting, n in NTH.items()}
    values |= {"first step": hit[:, 0], "labels shuffled": torch.cat(blind).double()}
    return {
        (job.learner, setting): Score(value=100 * float(value.mean()))
        for setting, value in values.items()
    }


def figures(learner: str) -> list[Figure]:
    """A row of the table, and the two checks for a learner that is measured here."""
    values, source = PUBLISHED[learner]
    job = learner if learner in ("mann", "lstm") else ""
    gates: Any = GATES if learner == "mann" else {}
    row = [
        Figure(learner, setting, job, value, None, source, gate=gates.get(setting))
        for setting, value in zip(NTH, values, strict=True)
    ]
    return [*row, *(Figure(learner, setting, job) for setting in CHANCE if job)]


BACKGROUND = SmallOmniglot(split="background", rotations=True)
EVALUATION = SmallOmniglot(split="evaluation", rotations=True)
SHAPE = Shape(way=WAY, shot=SHOT, query=1)

TABLE = Table(
    name="mann",
    title="Omniglot sequences: MANN and LSTM",
    unit="accuracy at the nth presentation of a class, %",
    test=f"{TEST_SEQUENCES:,} sequences of 5 classes x 10 images",
    notes=(
        "Images 20 x 20, averaged from 28 x 28; quarter turns of a character are classes. Trained "
        "on Lake's background alphabets, tested on the evaluation alphabets; the paper splits the "
        "characters 1200 / 423 and also shifts and turns single images. An eleventh image a class "
        "is predicted in training, from the last state. Two checks are at chance, 20 %, if labels "
        "arrive a step late: the *first step* of a sequence, and every step when the labels given "
        "are shuffled among the images. A later class at its *1st* presentation is above chance, "
        "since its label is one of those not seen yet."
    ),
    figures=tuple(figure for learner in PUBLISHED for figure in figures(learner)),
    jobs=tuple(
        Job(learner, learner, BACKGROUND, SHAPE, ITERATIONS, max_way=WAY)
        for learner in ("mann", "lstm")
    ),
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
