"""Folders that are submissions, and the secret episodes they are scored on."""

from __future__ import annotations

import secrets
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metabench.episodes import Episodes
from metabench.learners import MetaLearner, TaskInfo
from metabench.predictors import LearnerPredictor
from metabench.rng import Address
from metabench.scoring import score
from metabench.submission.limits import MIB, Limits
from metabench.submission.manifest import Manifest
from metabench.submission.remote import Contained, contained
from metabench.submission.sandbox import Choice
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

CPU = torch.device("cpu")
QUICK = Limits(
    start_seconds=60.0, call_seconds=20.0, resident=640 * MIB, scratch=8 * MIB, output=MIB
)
SHAPE = Shape(way=5, shot=1, query=5)
HEADER = """
import torch
from metabench import LearnerCard, MetaLearner, Prediction


class Base(MetaLearner):
    '''Knows nothing: all classes tie.'''

    card = LearnerCard(name="cheat", family="other", kinds=("classification", "regression"))

    def adapt(self, support):
        return support

    def predict(self, state, query):
        return Prediction(torch.zeros(*query.x.shape[:2], int(state.way.max())))

    def told(self, labels, query, way):
        '''Predicts labels that were found: an array of numbers.'''
        labels = torch.as_tensor(labels).reshape(query.x.shape[:2]).long()
        return Prediction(torch.nn.functional.one_hot(labels.clamp(0, way - 1), way).float())
"""


def manifest(**changes: Any) -> Manifest:
    """Of a submission that says nothing special."""
    said: dict[str, Any] = {
        "name": "cheat",
        "entry": "learner:Learner",
        "version": "1",
        "authors": ["Nobody"],
        "family": "other",
        "kinds": ["classification"],
        "track": "inductive",
        "training_data": [],
    }
    return Manifest.model_validate(said | changes)


def write(folder: Path, source: str, files: Mapping[str, str] | None = None) -> Path:
    """A submission's folder with ``learner.py`` and other files."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("learner.py").write_text(HEADER + textwrap.dedent(source))
    for name, text in (files or {}).items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_text(textwrap.dedent(text))
    return folder


def submission(
    folder: Path,
    source: str,
    files: Mapping[str, str] | None = None,
    *,
    limits: Limits = QUICK,
    isolation: Choice = "sandbox",
    **changes: Any,
) -> type[Contained]:
    """The class of such a submission."""
    return contained(
        manifest(**changes), write(folder, source, files), limits, isolation, ahead=False
    )


def secret() -> Address:
    """An address nobody can guess."""
    return Address.of("secret", secrets.token_hex(32))


def episodes_at(address: Address, indices: range) -> Episodes:
    """Of a world where an honest learner is nearly always right."""
    return sample(Clusters(), SHAPE, address, indices)


def ready(learner_class: type[MetaLearner[Any]]) -> MetaLearner[Any]:
    """An instance that is set up."""
    learner = learner_class()
    distribution = Clusters()
    learner.setup(TaskInfo("classification", distribution.input_shape, 0, SHAPE, 5), 0, CPU)
    return learner


def accuracy(learner: MetaLearner[Any], batches: int = 4, *, audited: bool = True) -> float:
    """Audited, then scored as a cell is: labels stay in this frame."""
    address = secret()
    predictor = LearnerPredictor(learner, CPU)
    if audited:
        predictor.audit(episodes_at(address, range(4)))
    found = []
    for start in range(0, 16 * batches, 16):
        episodes = episodes_at(address, range(start, start + 16))
        found.append(score(predictor(Clusters(), episodes), episodes))
    return float(torch.cat(found).mean())
