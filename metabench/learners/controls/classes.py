"""Controls in classification: learners that answer by something other than the support set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Prediction, Query, Support, mask_absent_classes, one_hot
from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.learners.contract import (
    LEARNERS,
    LearnerCard,
    MetaLearner,
    StepLog,
    TaskInfo,
    TaskStream,
)
from metabench.learners.metric.protonet import prototypes, squared_distances
from metabench.rng import Address
from metabench.tasks.cued import marked


@LEARNERS.register("fixed-label-map")
@dataclass(eq=False)
class FixedLabelMap(MetaLearner[Support]):
    """Broken: gives a query the label of the nearest meta-training image, not of the support."""

    card = LearnerCard(
        "fixed-label-map",
        "control",
        ("classification",),
        citation="Yin et al. 2020. Meta-Learning without Memorization. ICLR.",
    )
    tasks: Annotated[int, Field(ge=1, description="episodes that it learns by heart")] = 100
    x: Tensor = field(default_factory=lambda: torch.zeros(1, 1), init=False)
    y: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.int64), init=False)

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """One blank image of class 0, until meta-training."""
        self.x = torch.zeros(1, torch.Size(info.input_shape).numel(), device=device)
        self.y = torch.zeros(1, dtype=torch.int64, device=device)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Remember every support item with its label, in a single step."""
        if tasks.step:
            return
        support = tasks.next(min(self.tasks, tasks.budget.tasks)).support
        self.x, self.y = support.x[support.mask].flatten(1), support.y[support.mask]
        yield StepLog(0.0)

    def adapt(self, support: Support) -> Support:
        """The support set, of which only the way is used."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """The remembered label."""
        nearest = torch.cdist(query.x.flatten(0, 1).flatten(1), self.x).argmin(dim=1)
        label = self.y[nearest].view(query.mask.shape) % state.way[:, None]
        return Prediction(mask_absent_classes(one_hot(label, state.max_way), state.way))

    def state_dict(self) -> dict[str, Tensor]:
        """The images and their labels."""
        return {"x": self.x, "y": self.y}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The images and their labels."""
        self.x, self.y = state["x"].to(self.x.device), state["y"].to(self.y.device)


@LEARNERS.register("cue-reader")
@dataclass(eq=False)
class CueReader(MetaLearner[Support]):
    """Broken: if a mark names the label in meta-training, it never looks at the glyph again.

    Where marks tell nothing it is a nearest neighbour.
    """

    card = LearnerCard(
        "cue-reader",
        "control",
        ("classification",),
        citation="Geirhos et al. 2020. Shortcut learning in deep neural networks.",
        version="2",
    )
    tasks: Annotated[int, Field(ge=1, description="episodes that it looks at")] = 20
    trusted: Tensor = field(default_factory=lambda: torch.zeros(()), init=False)
    """Share of the items of meta-training that the mark named rightly."""

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """See how often the mark is right, in a single step."""
        if tasks.step:
            return
        support = tasks.next(min(self.tasks, tasks.budget.tasks)).support
        right = self._marks(support, support.x).argmax(dim=2) == support.y
        self.trusted = right[support.mask].float().mean().cpu()
        yield StepLog(0.0)

    def adapt(self, support: Support) -> Support:
        """The support set; with a cue only its way is used."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """The label whose mark is brightest, or that of the nearest item."""
        if self.trusted <= 0.5:
            return NearestNeighbour().predict(state, query)
        return Prediction(mask_absent_classes(self._marks(state, query.x), state.way))

    def _marks(self, support: Support, x: Tensor) -> Tensor:
        """How bright each label's mark is [T, n, W]; what is no image has no mark."""
        if x.ndim != 5:
            return x.new_zeros(*x.shape[:2], support.max_way)
        scores = []
        for label in torch.arange(support.max_way):
            mark = marked(torch.zeros_like(x, device="cpu"), label.expand(x.shape[:2]))
            scores.append((mark.to(x.device) * x).flatten(2).sum(dim=2))
        return torch.stack(scores, dim=2)

    def state_dict(self) -> dict[str, Tensor]:
        """How far it trusts marks."""
        return {"trusted": self.trusted}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """How far it trusts marks."""
        self.trusted = state["trusted"]


@LEARNERS.register("position-cheat")
class PositionCheat(MetaLearner[Support]):
    """Broken: believes that the support items stand in the order of their classes."""

    card = LearnerCard(
        "position-cheat",
        "control",
        ("classification",),
        citation="Kapoor, Narayanan 2023. Leakage and the reproducibility crisis.",
        sequential=True,
    )

    def adapt(self, support: Support) -> Support:
        """The support set with the labels it believes in."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """The nearest item's believed class: its place, rounded down to a class."""
        items = state.mask.sum(dim=1, keepdim=True)
        place = torch.arange(state.mask.shape[1], device=state.mask.device)
        believed = (place * state.way[:, None] // items.clamp_min(1)).clamp_max(state.max_way - 1)
        far = torch.cdist(query.x.flatten(2), state.x.flatten(2))
        nearest = far.masked_fill(~state.mask[:, None], float("inf")).argmin(dim=2)
        label = believed.gather(1, nearest)
        return Prediction(mask_absent_classes(one_hot(label, state.max_way), state.way))


@LEARNERS.register("noise-features")
@dataclass(eq=False)
class NoiseFeatures(MetaLearner[tuple[Tensor, Support]]):
    """Broken: a prototypical network whose embedding is a hash of the image."""

    card = LearnerCard(
        "noise-features",
        "control",
        ("classification",),
        citation="Snell et al. 2017. Prototypical Networks for Few-shot Learning. NeurIPS.",
    )
    size: Annotated[int, Field(ge=1, description="of the embedding")] = 64
    project: Tensor = field(default_factory=lambda: torch.zeros(1, 1), init=False)

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Random directions, so long that the sine of a projection is noise."""
        shape = (torch.Size(info.input_shape).numel(), self.size)
        generator = Address.of("noise-features", seed).torch_generator()
        self.project = (1e3 * torch.randn(shape, generator=generator)).to(device)

    def embed(self, x: Tensor) -> Tensor:
        """[T, n, *X] -> [T, n, F]."""
        return torch.sin(x.flatten(2).double() @ self.project.double()).float()

    def adapt(self, support: Support) -> tuple[Tensor, Support]:
        """Prototypes of noise."""
        return prototypes(self.embed(support.x), support), support

    def predict(self, state: tuple[Tensor, Support], query: Query) -> Prediction:
        """The nearest prototype."""
        scores = -squared_distances(self.embed(query.x), state[0])
        return Prediction(mask_absent_classes(scores, state[1].way))


@LEARNERS.register("constant-score")
class ConstantScore(MetaLearner[Support]):
    """Broken: all classes are equally likely."""

    card = LearnerCard(
        "constant-score",
        "control",
        ("classification",),
        citation="Cohen 1960. A coefficient of agreement for nominal scales.",
    )

    def adapt(self, support: Support) -> Support:
        """The support set, of which only the way is used."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """Zero for every class."""
        zeros = query.x.new_zeros(*query.mask.shape, state.max_way)
        return Prediction(mask_absent_classes(zeros, state.way))
