"""A plain module, scored as ProtoNet and as a linear probe."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metabench import LearnerCard, api
from metabench.learners.adapters.embedding import EmbeddingLearner
from metabench.learners.contract import TaskInfo


class Nearest(EmbeddingLearner):
    card = LearnerCard("plain-protonet", "metric", ("classification",))

    def make(self, info: TaskInfo) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(info.input_shape), 32), nn.Tanh())


class Probe(Nearest):
    card = LearnerCard("plain-linear", "metric", ("classification",))
    head = "linear"


@pytest.mark.parametrize("learner", [Nearest, Probe])
def test_a_plain_module_keeps_the_contract_with_either_head(
    learner: type[EmbeddingLearner],
) -> None:
    before = torch.get_rng_state()
    report = api.check(learner, "cpu")
    assert report.passed, report.lines()
    assert torch.equal(before, torch.get_rng_state())
