"""MANN: addressing against a plain transcription, sequences, and robustness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metabench.episodes import Support
from metabench.learners.contract import begin, observe
from metabench.learners.memory.cells import cosine
from metabench.learners.memory.mann import Mann, Memory, least_used
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=2, query=2)


@pytest.fixture
def learner() -> Mann:
    made = Mann(controller=7, slots=5, width=4, reads=2)
    made.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    return made


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_a_step_equals_the_papers_equations_written_out(learner: Mann) -> None:
    rng = np.random.default_rng(0)
    p = {k: v.double().numpy() for k, v in learner.frozen.items()}
    hidden, cell = rng.normal(size=7), rng.normal(size=7)
    slots, usage = rng.normal(size=(5, 4)), rng.random(5)
    read, found = rng.dirichlet(np.ones(5), size=2), rng.normal(size=8)
    label, x = np.array([0.0, 1.0, 0.0]), rng.normal(size=6)

    known = np.concatenate([label, found, hidden])
    gates = p["inputs.weight"] @ x + p["inputs.bias"] + p["known.weight"] @ known + p["known.bias"]
    i, f, o, g = np.split(gates, 4)
    new_cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    new_hidden = sigmoid(o) * np.tanh(new_cell)
    keys = np.tanh(p["keys.weight"] @ new_hidden + p["keys.bias"]).reshape(2, 4)
    new_read = np.empty((2, 5))
    for head in range(2):
        k = np.array(
            [
                keys[head] @ m / (np.linalg.norm(keys[head]) * np.linalg.norm(m) + 1e-8)
                for m in slots
            ]
        )
        new_read[head] = np.exp(k) / np.exp(k).sum()
    new_found = (new_read @ slots).ravel()
    out = p["output.weight"] @ np.concatenate([new_hidden, new_found])
    out += p["output.bias"]
    alpha = sigmoid(p["blend.weight"] @ new_hidden + p["blend.bias"])
    least = np.zeros(5)
    least[np.argsort(usage)[:2]] = 1
    write = alpha[:, None] * read + (1 - alpha[:, None]) * least
    new_slots = slots * (1 - least)[:, None]
    for head in range(2):
        new_slots += np.outer(write[head], keys[head])
    new_usage = 0.95 * usage + new_read.sum(0) + write.sum(0)

    def tensor(a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(a)[None]

    doubled = {k: v.double() for k, v in learner.frozen.items()}
    state = Memory(
        tensor(hidden),
        tensor(cell),
        tensor(slots),
        tensor(read),
        tensor(found),
        tensor(usage),
        label=tensor(label),
        way=torch.tensor([3]),
    )
    output, after = learner.step(doubled, state, learner.drive(doubled, tensor(x)[None])[:, 0])
    for got, expected in (
        (output, out),
        (after.hidden, new_hidden),
        (after.slots, new_slots),
        (after.read, new_read),
        (after.found, new_found),
        (after.usage, new_usage),
    ):
        np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-9)


def test_a_label_comes_with_the_next_input_and_not_its_own(learner: Mann) -> None:
    support = sample(TASK, SHAPE, Address.of("offset"), range(4)).support
    other = (support.y + 1) % 3
    relabelled = Support(support.x, other, support.mask, support.way)
    p = learner.frozen
    before, state = learner.read_support(p, learner.start(p, support), support)
    after, _ = learner.read_support(p, learner.start(p, support), relabelled)
    assert torch.equal(before[:, 0], after[:, 0]), "the first prediction knows no label"
    assert not torch.allclose(before[:, 1:], after[:, 1:])
    assert torch.equal(state.label.argmax(-1), support.y[:, -1]), "the last label is still pending"


def test_observing_in_parts_equals_adapting_to_the_whole(learner: Mann) -> None:
    support = sample(TASK, SHAPE, Address.of("parts"), range(4)).support
    x, y, mask, way = support.x, support.y, support.mask, support.way
    parts = [Support(x[:, a:b], y[:, a:b], mask[:, a:b], way) for a, b in ((0, 2), (2, 6))]
    streamed = observe(learner, begin(learner, parts[0]), parts[1]).state
    whole = learner.adapt(support)
    assert torch.allclose(streamed.slots, whole.slots)
    assert torch.allclose(streamed.hidden, whole.hidden)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_a_thousand_constant_inputs_stay_finite(learner: Mann, value: float) -> None:
    n = 1000
    support = Support(
        torch.full((2, n, 6), value),
        torch.zeros(2, n, dtype=torch.int64),
        torch.ones(2, n, dtype=torch.bool),
        torch.full((2,), 3),
    )
    state = learner.adapt(support)
    assert all(torch.isfinite(getattr(state, k)).all() for k in ("slots", "usage", "hidden"))


def test_an_empty_memory_has_finite_similarities_and_gradients() -> None:
    slots = torch.zeros(1, 5, 4)
    keys = torch.zeros(1, 2, 4, requires_grad=True)
    cosine(keys, slots).sum().backward()
    assert torch.isfinite(keys.grad).all()


def test_least_used_marks_as_many_slots_as_there_are_reads() -> None:
    marked = least_used(torch.tensor([[0.3, 0.1, 0.9, 0.2]]), 2)
    assert marked.tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_meta_training_learns_to_bind_labels() -> None:
    """After training on two-way clusters, accuracy is far above the chance of a half."""
    task, shape = Clusters(shape=(4,), spread=3.0), Shape(way=2, shot=2, query=4)
    stream = stream_of(task, shape)
    learner = Mann(controller=32, slots=8, width=8, reads=1, meta_lr=3e-3)
    learner.setup(stream.info, 0, CPU)
    steps = learner.meta_fit(stream, 0)
    for _ in range(500):
        next(steps)
    e = sample(task, shape, Address.of("bound"), range(300))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output.argmax(-1) == e.query_y).float().mean()) > 0.8


def test_regression_reads_targets() -> None:
    shape = Shape(shot=5, query=3)
    learner = Mann(controller=8, slots=4, width=4, reads=1)
    learner.setup(stream_of(Sinusoid(), shape).info, 0, CPU)
    e = sample(Sinusoid(), shape, Address.of("r"), range(3))
    a = learner.predict(learner.adapt(e.support), e.query).output
    shifted = Support(e.support.x, e.support.y + 1, e.support.mask, e.support.way)
    b = learner.predict(learner.adapt(shifted), e.query).output
    assert a.shape == (3, 3, 1)
    assert not torch.allclose(a, b)
