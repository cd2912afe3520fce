"""Fine-tuning and Baseline++ against known answers."""

from __future__ import annotations

import pytest
import torch

from metabench.learners.baselines.baseline_plus_plus import BaselinePlusPlus
from metabench.learners.baselines.finetune import FineTune, descend
from metabench.learners.baselines.nearest_neighbour import NearestNeighbour
from metabench.learners.contract import TaskStream
from metabench.learners.embedding import embedded
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of
from tests.learners.test_protonet import _OneDirection, accuracy

SHAPE = Shape(way=4, shot=1, query=4)
TASK = _OneDirection(shape=(60,), spread=1.5)
FUNCTIONS = Shape(shot=10, query=10)


def ready(learner: FineTune, stream: TaskStream) -> FineTune:
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    return learner


def test_the_head_takes_the_steps_of_the_authors_optimiser() -> None:
    """SGD at 0.01, momentum and dampening 0.9, weight decay 0.001."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    start = torch.randn(3, 2, dtype=torch.float64, generator=generator)
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([theirs], lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
    for _ in range(20):
        optimiser.zero_grad()
        (a @ theirs).square().sum().backward()
        optimiser.step()
    ours = descend(lambda p: (a @ p["w"]).square().sum(), {"w": start}, 20, 0.01)["w"]
    assert torch.allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("kind", [FineTune, BaselinePlusPlus])
def test_an_ordinary_classifier_learns_which_directions_matter(kind: type[FineTune]) -> None:
    learner = ready(kind(hidden=32), stream_of(TASK, SHAPE, steps=400))
    e = sample(TASK, SHAPE, Address.of("t"), range(200))
    # The standard error of either is 0.01.
    assert accuracy(learner, e) > accuracy(NearestNeighbour(), e) + 0.05


def test_the_head_alone_is_trained_and_the_support_set_is_fitted() -> None:
    learner = ready(FineTune(hidden=32), stream_of(TASK, SHAPE, steps=50))
    e = sample(TASK, Shape(way=(2, 4), shot=(1, 3), query=1), Address.of("f"), range(20))
    state = learner.adapt(e.support)
    assert set(state.parameters) == {"head.weight", "head.bias"}
    scores = learner.logits(state.parameters, embedded(learner, e.support).x)
    right = scores.argmax(-1) == e.support.y
    assert float(right[e.support.mask].double().mean()) > 0.95


def test_one_step_on_a_function_goes_down_its_own_slope() -> None:
    stream = stream_of(Sinusoid(), FUNCTIONS, steps=3)
    learner = ready(FineTune(adapt_steps=1, adapt_lr=0.1), stream)
    e = sample(Sinusoid(), Shape(shot=(3, 6), query=1), Address.of("g"), range(4))
    tuned = learner.adapt(e.support).parameters
    for t in range(4):
        p = {k: v.clone().requires_grad_() for k, v in learner.frozen.items()}
        keep = e.support.mask[t]
        output, _ = learner.network.forward(p, e.support.x[t, keep])
        (output - e.support.y[t, keep]).square().mean().backward()
        for k, v in p.items():
            assert v.grad is not None
            assert torch.allclose(tuned[k][t], v - 0.1 * v.grad, atol=1e-6)


def test_a_network_for_all_functions_learns_their_mean_and_tuning_improves_it() -> None:
    """The best predictor that ignores the support has risk 3.005 (see the tests of tasks)."""
    stream = stream_of(Sinusoid(), FUNCTIONS, steps=1500)
    learner = ready(FineTune(), stream)
    e = sample(Sinusoid(), FUNCTIONS, Address.of("s"), range(2000))
    output, _ = learner.network.forward(learner.frozen, e.query.x.flatten(0, 1))
    before = float((output - e.query_y.flatten(0, 1)).square().mean())
    assert before == pytest.approx(3.0, abs=0.25)
    assert accuracy(learner, e) < before - 0.2


def test_baseline_plus_plus_scores_cosines_by_gain_and_scale() -> None:
    learner = BaselinePlusPlus()
    head = {
        "head.weight": torch.tensor([[3.0, 4.0], [0.0, -2.0]]),
        "head.gain": torch.tensor([1.0, 0.5]),
    }
    z = torch.tensor([[10.0, 0.0], [0.0, 7.0]])
    expected = 2 * torch.tensor([[0.6, 0.0], [0.8, -0.5]])
    assert torch.allclose(learner.logits(head, z), expected)
    learner.scale = 5.0
    assert torch.allclose(learner.logits(head, 3 * z), 2.5 * expected)


@pytest.mark.parametrize(("classes", "scale"), [(200, 2), (201, 10)])
def test_many_classes_need_a_larger_scale(classes: int, scale: float) -> None:
    head = {"head.weight": torch.ones(classes, 2), "head.gain": torch.ones(classes)}
    scores = BaselinePlusPlus().logits(head, torch.ones(1, 2))
    assert float(scores[0, 0]) == pytest.approx(scale)
