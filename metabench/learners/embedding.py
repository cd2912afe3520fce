"""Learners that see nothing of an input but its embedding."""

# No postponed annotations: learners inherit from here by way of modules without them.

from dataclasses import replace
from typing import Any, Protocol, TypeGuard, TypeVar, runtime_checkable

from torch import Tensor

from metabench.episodes import Prediction, Query, Support

Part = TypeVar("Part", Support, Query)


@runtime_checkable
class Embeds(Protocol):
    """A learner whose ``adapt`` and ``predict`` are these two on the embeddings of the inputs.

    Evaluation then embeds an image once that many episodes share. It is checked to predict the
    same as ``adapt`` and ``predict``: a subclass that overrides those overrides these as well.
    Classification only, as no two regression tasks share an input.
    """

    def embed_items(self, x: Tensor) -> Tensor:
        """Inputs [N, *X] -> embeddings [N, F], each a function of its own input alone."""
        ...

    def adapt_embedded(self, support: Support) -> Any:
        """As ``adapt``, where support.x [T, S, F] are embeddings."""
        ...

    def predict_embedded(self, state: Any, query: Query) -> Prediction:
        """As ``predict``, where query.x [T, Q, F] are embeddings."""
        ...


def embeds(learner: object) -> TypeGuard[Embeds]:
    """Whether an embedding is the same in every episode: it never is in a transductive learner."""
    card = getattr(learner, "card", None)
    return isinstance(learner, Embeds) and card is not None and not card.transductive


def embedded(learner: Embeds, part: Part) -> Part:
    """Support or query with the embeddings [T, n, F] of its inputs [T, n, *X]."""
    z = learner.embed_items(part.x.flatten(0, 1))
    return replace(part, x=z.view(*part.x.shape[:2], -1))
