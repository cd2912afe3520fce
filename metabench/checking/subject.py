"""The learner under test with the episodes it is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metabench.episodes import Episodes, Kind, Prediction, Query, to_device
from metabench.learners.build import LearnerClass
from metabench.learners.contract import MetaLearner, TaskInfo, TaskStream
from metabench.records import Budget
from metabench.rng import Address
from metabench.scoring import is_number, require_fit
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.base import Count
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train

STEPS = 2
MAX_WAY = 6


class Broken(Exception):
    """A property does not hold; the message says precisely how."""


@dataclass(frozen=True)
class Setting:
    """One kind of task that a learner is tried on."""

    name: str
    distribution: TaskDistribution
    way: Count
    shot: int

    @property
    def kind(self) -> Kind:
        """Classification or regression."""
        return self.distribution.kind

    def shape(self, way: Count | None = None, shot: Count | None = None, query: int = 3) -> Shape:
        """An episode's shape, by default the training one."""
        return Shape(
            way=self.way if way is None else way,
            shot=self.shot if shot is None else shot,
            query=query,
        )


SETTINGS = (
    Setting("vectors", Clusters(shape=(16,)), way=5, shot=2),
    Setting("images", Clusters(shape=(1, 28, 28), spread=1.0), way=5, shot=1),
    Setting("regression", Sinusoid(), way=0, shot=5),
)


@dataclass
class Subject:
    """A learner class in one setting; ``learner`` has meta-trained for a few steps."""

    learner_class: LearnerClass
    setting: Setting
    device: torch.device
    learner: MetaLearner[Any] | None = None

    @property
    def info(self) -> TaskInfo:
        """What the learner is told."""
        distribution = self.setting.distribution
        classes = self.setting.kind == "classification"
        return TaskInfo(
            self.setting.kind,
            distribution.input_shape,
            distribution.output_dim,
            self.setting.shape(),
            MAX_WAY if classes else 0,
        )

    def fresh(self, seed: int = 0) -> MetaLearner[Any]:
        """A new learner, set up but not trained."""
        learner = self.learner_class()
        if hasattr(learner, "setup"):
            learner.setup(self.info, seed, self.device)
        return learner

    def stream(self, steps: int) -> TaskStream:
        """Meta-training tasks for so many steps."""
        return TaskStream(
            self.info,
            self.setting.distribution,
            Address.of("metabench", "check", self.setting.name),
            Budget(tasks=10_000, steps=steps, seconds=60),
            self.device,
        )

    def trained(self, steps: int = STEPS, seed: int = 0) -> MetaLearner[Any]:
        """A new learner after so many meta-steps."""
        learner = self.fresh(seed)
        train(learner, self.stream(steps), seed)
        return learner

    @property
    def ready(self) -> MetaLearner[Any]:
        """The trained learner, made once."""
        if self.learner is None:
            self.learner = self.trained()
        return self.learner

    def episodes(
        self,
        count: int,
        shape: Shape | None = None,
        distribution: TaskDistribution | None = None,
        start: int = 0,
    ) -> Episodes:
        """Test episodes on the device."""
        made = sample(
            distribution or self.setting.distribution,
            shape or self.setting.shape(),
            Address.of("metabench", "check", self.setting.name, "test"),
            range(start, start + count),
        )
        return to_device(made, self.device)

    def predict(self, episodes: Episodes, learner: MetaLearner[Any] | None = None) -> Tensor:
        """Valid outputs [T, Q, W or D] on the CPU, in float64."""
        learner = learner or self.ready
        state = learner.adapt(episodes.support)
        return self.valid(learner.predict(state, episodes.query), episodes)

    def valid(self, prediction: object, episodes: Episodes) -> Tensor:
        """The output, or Broken."""
        if not isinstance(prediction, Prediction):
            raise Broken(f"predict returned {type(prediction).__name__}, expected Prediction")
        output = require_fit(prediction, episodes)
        if not is_number(output, episodes)[episodes.query.mask.cpu()].all():
            raise Broken("the learner predicted NaN or infinity")
        return output


def with_queries(episodes: Episodes, index: Tensor) -> Episodes:
    """The episodes with these queries [n] only, in this order."""
    query = Query(episodes.query.x[:, index], episodes.query.mask[:, index])
    return replace(episodes, query=query, query_y=episodes.query_y[:, index])


@contextmanager
def other_global_seed(seed: int) -> Iterator[None]:
    """Run with the global generators of torch, NumPy and Python in another state, then restore."""
    import random

    import numpy as np

    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # (noqa: global-rng)
        np.random.seed(seed)  # noqa: NPY002 (global-rng)
        random.seed(seed)  # (noqa: global-rng)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
