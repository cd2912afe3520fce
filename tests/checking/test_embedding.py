"""``metabench check`` on learners that say they embed each input by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from torch import Tensor

from metabench.checking import check_learner
from metabench.episodes import Prediction, Query, Support
from metabench.learners.metric.protonet import ProtoNet, Prototypes
from tests.conftest import CPU


@dataclass(eq=False)
class Small(ProtoNet):
    filters: int = 4
    train_way: int | None = None


class CentresTheBatch(Small):
    def embed_items(self, x: Tensor) -> Tensor:
        z = super().embed_items(x)
        return z - z.mean(0)


class AdaptsOtherwise(Small):
    def adapt(self, support: Support) -> Prototypes:
        state = super().adapt(support)
        return replace(state, means=0.5 * state.means)


class PredictsOtherwise(Small):
    def predict(self, state: Any, query: Query) -> Prediction:
        return Prediction(2 * super().predict(state, query).output)


class Maps(Small):
    def embed_items(self, x: Tensor) -> Tensor:
        return super().embed_items(x)[..., None]


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (Small, None),
        (CentresTheBatch, "changes when it comes"),
        (AdaptsOtherwise, "predict otherwise than adapt"),
        (PredictsOtherwise, "predict otherwise than adapt"),
        (Maps, "embed_items returned shape"),
    ],
)
def test_an_embedding_that_is_not_an_items_own_is_named(
    learner: type[ProtoNet], message: str | None
) -> None:
    results = [r for r in check_learner(learner, CPU).results if r.name == "embedding"]
    assert {r.setting for r in results} == {"vectors", "images"}
    for result in results:
        assert result.passed == (message is None)
        assert (message or "") in result.message
