"""What learners share that pre-train as an ordinary classifier of the meta-training classes."""

# No postponed annotations: a dataclass in another module resolves inherited ones in its own names.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Prediction, Query, Support
from metabench.learners.backbones import (
    BackboneName,
    Parameters,
    Statistics,
    backbone_for,
    dense,
    follow,
    running_buffers,
    running_statistics,
)
from metabench.learners.contract import State, StepLog, TaskInfo, TaskStream
from metabench.learners.embedding import embedded
from metabench.learners.trainable import Trainable
from metabench.rng import Address


@dataclass(eq=False)
class Supervised(Trainable[State]):
    """Trains a normalised backbone and a head by cross-entropy on labelled items.

    How many classes there are is known when meta-training begins, or from a checkpoint; the head
    is made then. After training the features use the running averages of the normalisation
    statistics, never those of an episode.
    """

    batch: Annotated[int, Field(ge=2, description="labelled items a step")] = 128
    lr: Annotated[float, Field(gt=0, description="rate of pre-training")] = 1e-3
    backbone: Annotated[
        BackboneName | None, Field(description="embedding; None: Conv-4 on images, else an MLP")
    ] = None
    filters: Annotated[int, Field(ge=1, description="filters of a convolutional network")] = 64
    hidden: Annotated[int, Field(ge=1, description="width of the two MLP layers")] = 64

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Build the backbone; running statistics start at mean 0, variance 1."""
        self.info, self.seed, self.device = info, seed, device
        self.embedding = backbone_for(
            info.input_shape,
            self.filters,
            (self.hidden, self.hidden),
            name=self.backbone,
            normalised=True,
            fused=True,
        )
        parameters = self.embedding.init(self.generator("init"))
        _, statistics = self.embedding(parameters, torch.zeros(1, *info.input_shape))
        self.hold(parameters, device, self.lr, running_buffers(statistics))

    def generator(self, name: str) -> torch.Generator:
        """The seed's generator of that name."""
        return Address.of(self.card.name, name, self.seed).torch_generator()

    def head(self, classes: int) -> dict[str, Tensor]:
        """Fresh parameters of the pre-training head, a linear one."""
        parameters: dict[str, Tensor] = {}
        dense(parameters, "head", self.embedding.features, classes, self.generator("head"))
        return parameters

    def logits(self, parameters: Parameters, z: Tensor) -> Tensor:
        """Scores [..., n, C] of features [..., n, F]; tasks may lead both parameters and z."""
        return z @ parameters["head.weight"].mT + parameters["head.bias"].unsqueeze(-2)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """One optimiser step a batch of labelled items."""
        if "head.weight" not in self.parameters:
            self._add_head(tasks.classes)
        while True:
            self.schedule(tasks)
            x, y = tasks.labelled(self.batch)
            z, used = self.embedding(self.parameters, x)
            self.follow(z.detach(), used)
            yield self.update(F.cross_entropy(self.logits(self.parameters, z), y))

    def schedule(self, tasks: TaskStream) -> None:
        """Set the rate of the next step; here it stays."""

    def follow(self, z: Tensor, used: Statistics) -> None:
        """Running averages follow a batch of features z [n, F] and the statistics used."""
        follow(self.buffers, used)

    @property
    def running(self) -> Statistics:
        """The running averages of the normalisation statistics."""
        return running_statistics(self.buffers)

    def embed_items(self, x: Tensor) -> Tensor:
        """Frozen features [N, F] of inputs [N, *X]."""
        return self.embedding(self.frozen, x, self.running)[0]

    def adapt_embedded(self, support: Support) -> State:
        """Learn the tasks from frozen features."""
        raise NotImplementedError

    def predict_embedded(self, state: State, query: Query) -> Prediction:
        """Predict each query from its frozen features."""
        raise NotImplementedError

    def adapt(self, support: Support) -> State:
        """As ``adapt_embedded``."""
        return self.adapt_embedded(embedded(self, support))

    def predict(self, state: State, query: Query) -> Prediction:
        """As ``predict_embedded``."""
        return self.predict_embedded(state, embedded(self, query))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """With a head of the checkpoint's size."""
        weight = state.get("parameters/head.weight")
        if weight is not None and "head.weight" not in self.parameters:
            self._add_head(len(weight))
        super().load_state_dict(state)

    def _add_head(self, classes: int) -> None:
        parameters = {**self.parameters, **self.head(classes)}
        self.hold(parameters, self.device, self.lr, self.buffers)
