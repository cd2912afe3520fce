"""A plain module, scored as ProtoNet and as a linear probe."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metabench import LearnerCard, api
from metabench.learners.adapters.embedding import EmbeddingLearner
from metabench.learners.baselines.logistic import LogisticRegression
from metabench.learners.contract import TaskInfo
from metabench.learners.metric.protonet import ProtoNet
from metabench.rng import Address
from metabench.submission.findings import load_weights
from metabench.submission.manifest import Weights
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

CPU = torch.device("cpu")
INFO = TaskInfo("classification", (6,), 0, Shape(way=3, shot=2, query=4), 4)
EPISODES = sample(
    Clusters(shape=(6,)), Shape(way=(2, 4), shot=(1, 3), query=4), Address.of("e"), range(8)
)


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


def outputs(learner: EmbeddingLearner | ProtoNet) -> Tensor:
    output = learner.predict(learner.adapt(EPISODES.support), EPISODES.query).output
    return output[EPISODES.query.mask]


class Same(nn.Module):
    """The network of a ProtoNet as a plain module."""

    def __init__(self, learner: ProtoNet) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, x: Tensor) -> Tensor:
        return self.learner.embed_items(x)


def test_with_the_network_of_protonet_it_scores_as_protonet() -> None:
    protonet = ProtoNet(hidden=16)
    protonet.setup(INFO, 0, CPU)

    class Wrapping(Nearest):
        def make(self, info: TaskInfo) -> nn.Module:
            return Same(protonet)

    learner = Wrapping()
    learner.setup(INFO, 0, CPU)
    assert torch.equal(outputs(learner), outputs(protonet).detach())


def test_the_probe_is_the_logistic_regression_on_the_features() -> None:
    learner = Probe()
    learner.setup(INFO, 0, CPU)
    support, query = EPISODES.support, EPISODES.query
    z = [learner.module(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (support.x, query.x)]
    solved = LogisticRegression().adapt(replace(support, x=z[0]))
    expected = LogisticRegression().predict(solved, replace(query, x=z[1])).output[query.mask]
    assert torch.equal(outputs(learner), expected)


def test_weights_of_a_file_are_the_module_s(tmp_path: Path) -> None:
    given, learner = Nearest(), Nearest()
    given.setup(INFO, 1, CPU)
    learner.setup(INFO, 2, CPU)
    assert not torch.equal(outputs(learner), outputs(given))
    path = tmp_path / "weights.safetensors"
    save_file(given.module.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    learner.load_state_dict(load_weights(tmp_path, Weights(file=path.name, sha256=digest)))
    assert torch.equal(outputs(learner), outputs(given))


def test_layers_that_differ_in_training_are_in_eval_mode() -> None:
    class Noisy(Nearest):
        def make(self, info: TaskInfo) -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5))

    learner = Noisy()
    learner.setup(INFO, 0, CPU)
    assert torch.equal(outputs(learner), outputs(learner))
    assert learner.module[0].num_batches_tracked == 0
