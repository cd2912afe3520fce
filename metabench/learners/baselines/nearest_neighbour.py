"""The nearest neighbour on raw inputs (Cover and Hart 1967)."""

from __future__ import annotations

from torch import Tensor

from metabench.episodes import Prediction, Query, Support, one_hot
from metabench.learners.contract import LEARNERS, LearnerCard, MetaLearner


@LEARNERS.register("nearest-neighbour")
class NearestNeighbour(MetaLearner[Support]):
    """Answers with the label of the closest support item, in Euclidean distance."""

    card = LearnerCard(
        name="nearest-neighbour",
        family="baseline",
        kinds=("classification", "regression"),
        citation="Cover, Hart 1967. Nearest neighbor pattern classification. IEEE Trans. Inf. Th.",
    )

    def adapt(self, support: Support) -> Support:
        """Remember the support set."""
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        """Per class, the negative distance to its closest item; or the closest target."""
        d = distances(query.x, state.x).masked_fill(~state.mask[:, None], float("inf"))
        if state.kind == "regression":
            nearest = d.argmin(dim=-1)
            index = nearest[..., None].expand(-1, -1, state.y.shape[-1])
            return Prediction(state.y.gather(1, index))
        other = one_hot(state.y, state.max_way).mT[:, None] == 0
        return Prediction(-d[:, :, None].masked_fill(other, float("inf")).amin(dim=-1))


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of [T, n, *X] and [T, m, *X]: [T, n, m], by differences."""
    return (a.flatten(2)[:, :, None] - b.flatten(2)[:, None]).square().sum(dim=-1).sqrt()
