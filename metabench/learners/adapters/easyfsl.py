"""A few-shot classifier of EasyFSL as a learner, one task at a time."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.errors import MetabenchError
from metabench.learners.contract import MetaLearner, StepLog, TaskInfo, TaskStream
from metabench.learners.trainable import Trainable


@dataclass(frozen=True)
class Processed:
    """For each task a classifier that holds its support set, or None, and its classes [k]."""

    classifiers: list[tuple[Any, Tensor]]
    way: Tensor


class FrozenEasyFSLLearner(MetaLearner[Processed]):
    """Subclass it: ``card``, and ``make`` that returns a ``FewShotClassifier`` of EasyFSL.

    The classifier is in eval mode and keeps its weights. Classes of which the support set has no
    item score -inf; without any support all scores are zero.
    """

    def make(self, info: TaskInfo) -> Any:
        """The classifier, on the CPU; what it draws comes from the learner's seed."""
        raise NotImplementedError

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make it; MetabenchError where EasyFSL is missing or the card is wrong about it."""
        base = import_easyfsl().FewShotClassifier
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = self.make(info)
        name = type(self.module).__name__
        if not isinstance(self.module, base):
            raise MetabenchError(f"{name} is not a FewShotClassifier of EasyFSL")
        if self.module.is_transductive() and not self.card.transductive:
            raise MetabenchError(f"{name} is transductive: its card must say transductive=True")
        self.module.to(device).eval()

    @torch.no_grad()
    def adapt(self, support: Support) -> Processed:
        """Let a copy of the classifier process each task's items."""
        tasks = zip(support.x, support.y, support.mask, strict=True)
        return Processed([self.process(x[m], y[m]) for x, y, m in tasks], support.way)

    @torch.no_grad()
    def predict(self, state: Processed, query: Query) -> Prediction:
        """The classifier's scores in the order of the class ids."""
        way = int(state.way.max())
        scores = query.x.new_full((*query.x.shape[:2], way), float("-inf"))
        tasks = zip(scores, state.classifiers, query.x, query.mask, strict=True)
        for row, (classifier, classes), x, mask in tasks:
            if classifier is None:
                row[:] = 0.0
            elif mask.any():
                found = torch.full_like(row[mask], float("-inf"))
                found[:, classes] = own(classifier)(x[mask]).to(found)
                row[mask] = found
        return Prediction(mask_absent_classes(scores, state.way))

    def process(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """Support [S, *X] and class ids [S] -> the classifier that holds them, its classes [k]."""
        # EasyFSL counts the classes that there are and takes them to be 0, 1, 2, ...
        classes, labels = torch.unique(y, return_inverse=True)
        if not len(classes):
            return None, classes
        classifier = own(self.module)
        classifier.process_support_set(x, labels)
        return classifier, classes

    def state_dict(self) -> dict[str, Tensor]:
        """The classifier's."""
        return dict(self.module.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Into the classifier; names and shapes must be its own."""
        self.module.load_state_dict(dict(state))


class EasyFSLLearner(Trainable[Processed], FrozenEasyFSLLearner):
    """The same, meta-trained on episodes by Adam over what ``make`` left requiring a gradient."""

    def __init__(self, lr: float = 1e-3, meta_batch: int = 1) -> None:
        self.lr, self.meta_batch = lr, meta_batch

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make the classifier and the optimiser."""
        super().setup(info, seed, device)
        named = dict(self.module.named_parameters())
        fixed = {k: p for k, p in named.items() if not p.requires_grad}
        trained = {k: p for k, p in named.items() if p.requires_grad}
        self.hold(trained, device, self.lr, fixed | dict(self.module.named_buffers()))

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Of scores [Q, k] and targets [Q] in 0..k-1; override it, as for relation networks."""
        return F.cross_entropy(scores, y)

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """Episodes, in train mode."""
        while True:
            e = tasks.next(self.meta_batch)
            device = e.query_y.device
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(tasks.generator().initial_seed())  # dropout
                self.module.train()
                losses = []
                for i in range(e.tasks):
                    s, q = e.support.mask[i], e.query.mask[i]
                    classifier, classes = self.process(e.support.x[i][s], e.support.y[i][s])
                    targets = torch.searchsorted(classes, e.query_y[i][q])
                    losses.append(self.loss(classifier(e.query.x[i][q]), targets))
                log = self.update(torch.stack(losses).mean())
                self.module.eval()
            yield log


def own(classifier: Any) -> Any:
    """A copy that shares the weights; what it holds of a support set is its own."""
    copied = copy.copy(classifier)
    for name, value in vars(classifier).items():
        if isinstance(value, Tensor):
            setattr(copied, name, value.clone())
    return copied


def import_easyfsl() -> Any:
    """``easyfsl.methods``; raises MetabenchError naming the extra where it is not installed."""
    try:
        return importlib.import_module("easyfsl.methods")
    except ImportError as error:
        raise MetabenchError(
            f"a learner of EasyFSL needs easyfsl: pip install 'metabench[easyfsl]' ({error})"
        ) from None
