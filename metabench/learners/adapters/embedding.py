"""A plain module as a learner: its embedding, and a head fitted to each support set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from metabench.episodes import Prediction, Query, Support, mask_absent_classes
from metabench.learners.baselines.logistic import LogisticRegression
from metabench.learners.contract import MetaLearner, TaskInfo
from metabench.learners.embedding import embedded
from metabench.learners.metric.protonet import Prototypes, prototypes, squared_distances


class EmbeddingLearner(MetaLearner[Any]):
    """Subclass it: ``card``, and ``make`` that returns a module [N, *X] -> [N, F].

    ``head`` is ``protonet`` (nearest class mean, Snell et al. 2017) or ``linear``, a logistic
    regression on the frozen features. The module is in eval mode and never changes: its weights
    are those that ``make`` or ``load_state_dict`` gave it.
    """

    head: Literal["protonet", "linear"] = "protonet"

    def make(self, info: TaskInfo) -> nn.Module:
        """The module, on the CPU; what it draws comes from the learner's seed."""
        raise NotImplementedError

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make the module; torch's own generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = self.make(info).to(device).eval().requires_grad_(False)
        self.probe = LogisticRegression()

    def embed_items(self, x: Tensor) -> Tensor:
        """Inputs [N, *X] -> embeddings [N, F]."""
        z: Tensor = self.module(x)
        return z.flatten(1)

    def adapt_embedded(self, support: Support) -> Any:
        """Fit the head to embeddings."""
        if self.head == "linear":
            return self.probe.adapt(support)
        return Prototypes(prototypes(support.x, support), support.way)

    def predict_embedded(self, state: Any, query: Query) -> Prediction:
        """The head's scores."""
        if self.head == "linear":
            return self.probe.predict(state, query)
        scores = -squared_distances(query.x, state.means)
        return Prediction(mask_absent_classes(scores, state.way))

    def adapt(self, support: Support) -> Any:
        """Embed, then fit the head."""
        return self.adapt_embedded(embedded(self, support))

    def predict(self, state: Any, query: Query) -> Prediction:
        """Embed each query, then the head."""
        return self.predict_embedded(state, embedded(self, query))

    def state_dict(self) -> dict[str, Tensor]:
        """The module's."""
        return dict(self.module.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Into the module; names and shapes must be its own."""
        self.module.load_state_dict(dict(state))
