"""LSTM: against torch's own cell on the sequence, and a tiny task."""

from __future__ import annotations

import torch

from metabench.episodes import one_hot
from metabench.learners.memory.lstm import Lstm
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=2, query=2)


def test_it_is_an_lstm_on_inputs_joined_with_the_labels_before_them() -> None:
    learner = Lstm(controller=5)
    learner.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    p = learner.frozen
    reference = torch.nn.LSTM(6 + 3, 5, batch_first=True)

    def as_in_torch(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """torch orders gates enter, keep, new, leave."""
        enter, keep, leave, new = p[f"{name}.weight"].chunk(4)
        parts = p[f"{name}.bias"].chunk(4)
        bias = torch.cat([parts[0], parts[1], parts[3], parts[2]])
        return torch.cat([enter, keep, new, leave]), bias

    (on_x, bias_x), (on_known, bias_known) = as_in_torch("inputs"), as_in_torch("known")
    weights = (torch.cat([on_x, on_known[:, :3]], dim=1), on_known[:, 3:], bias_x, bias_known)
    with torch.no_grad():
        for target, value in zip(reference.all_weights[0], weights, strict=True):
            target.copy_(value)

    e = sample(TASK, SHAPE, Address.of("lstm"), range(4))
    labels = one_hot(e.support.y, 3)
    late = torch.cat([torch.zeros(4, 1, 3), labels], dim=1)
    found = learner.predict(learner.adapt(e.support), e.query).output
    for q in range(e.query.x.shape[1]):
        x = torch.cat([e.support.x, e.query.x[:, q : q + 1]], dim=1)
        hidden, _ = reference(torch.cat([x, late], dim=-1))
        expected = learner.output(p, hidden[:, -1])
        torch.testing.assert_close(found[:, q], expected, atol=1e-5, rtol=1e-4)


def test_sinusoids_are_predicted_better_than_without_a_support_set() -> None:
    """The best predictor that ignores the support set has an error of 3.005."""
    shape = Shape(shot=10, query=10)
    learner = Lstm(controller=48, meta_lr=3e-3)
    stream = stream_of(Sinusoid(), shape, steps=600)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    e = sample(Sinusoid(), shape, Address.of("sinusoid"), range(400))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output - e.query_y).square().mean()) < 2.5
