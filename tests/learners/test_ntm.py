"""NTM: addressing and one step against plain transcriptions of the paper, and robustness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metabench.learners.memory.ntm import Ntm
from metabench.learners.memory.ntm_cell import EMPTY, NtmCell, Tape, written
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from tests.conftest import CPU, stream_of

Array = NDArray[np.float64]
M, C = 6, 3


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def softplus(a: Array) -> Array:
    return np.log1p(np.exp(a))


def softmax(a: Array) -> Array:
    return np.exp(a) / np.exp(a).sum()


def addressed(raw: Array, slots: Array, last: Array) -> Array:
    """Equations 5 to 9 for one head, slot by slot."""
    key, strength, gate, shifts, sharpening = np.split(raw, [C, C + 1, C + 2, C + 5])
    key, strength, gate = np.tanh(key), softplus(strength[0]), sigmoid(gate[0])
    shifts, sharpening = softmax(shifts), 1 + softplus(sharpening[0])
    cos = [key @ m / (np.linalg.norm(key) * np.linalg.norm(m) + 1e-8) for m in slots]
    weights = gate * softmax(strength * np.array(cos)) + (1 - gate) * last
    moved = np.zeros(M)
    for i in range(M):
        for j in range(M):
            for shift, s in zip((-1, 0, 1), shifts, strict=True):
                if (i - j) % M == shift % M:
                    moved[i] += weights[j] * s
    return moved**sharpening / (moved**sharpening).sum()


def generator() -> torch.Generator:
    return Address.of("ntm").torch_generator()


def test_addressing_equals_the_papers_equations_written_out() -> None:
    rng = np.random.default_rng(0)
    cell = NtmCell(2, 2, controller=4, slots=M, width=C)
    raw = 2 * rng.normal(size=(5, 2, 3, sum(cell.sizes)))
    slots, last = rng.normal(size=(5, M, C)), rng.dirichlet(np.ones(M), size=(5, 3))
    got = cell.address(*map(torch.from_numpy, (raw, slots, last)))
    for n, i, head in np.ndindex(5, 2, 3):
        expected = addressed(raw[n, i, head], slots[n], last[n, head])
        np.testing.assert_allclose(got[n, i, head], expected, atol=1e-9)


def test_a_shift_of_one_moves_the_focus_to_the_next_slot_and_round_the_end() -> None:
    cell = NtmCell(1, 1, slots=M, width=C)
    last = torch.eye(M)[[0, M - 1]][None]
    raw = torch.tensor([0.0, 0.0, 0.0, 0.0, -99.0, -99.0, -99.0, 99.0, 0.0]).expand(1, 1, 2, -1)
    found = cell.address(raw, torch.randn(1, M, C, generator=generator()), last)
    assert found.argmax(-1).tolist() == [[[1, 0]]]


def test_a_step_equals_the_papers_equations_written_out() -> None:
    rng = np.random.default_rng(1)
    cell = NtmCell(inputs=5, outputs=2, controller=4, slots=M, width=C, reads=2, writes=2)
    parameters = {k: v.double() for k, v in cell.init(generator()).items()}
    p = {k: v.numpy() for k, v in parameters.items()}
    hidden, carry, x = rng.normal(size=4), rng.normal(size=4), rng.normal(size=5)
    slots, found = rng.normal(size=(M, C)), rng.normal(size=(2, C))
    weights = rng.dirichlet(np.ones(M), size=4)

    known = np.concatenate([found.ravel(), hidden])
    gates = p["inputs.weight"] @ x + p["inputs.bias"] + p["known.weight"] @ known + p["known.bias"]
    i, f, o, g = np.split(gates, 4)
    new_carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(g)
    new_hidden = sigmoid(o) * np.tanh(new_carry)
    raw = (p["address.weight"] @ new_hidden + p["address.bias"]).reshape(4, -1)
    new_weights = np.stack([addressed(raw[h], slots, weights[h]) for h in range(4)])
    read = new_weights[:2] @ slots
    change = (p["change.weight"] @ new_hidden + p["change.bias"]).reshape(2, 2, C)
    erase, add = sigmoid(change[0]), np.tanh(change[1])
    new_slots = slots.copy()
    for w, e in zip(new_weights[2:], erase, strict=True):
        new_slots *= 1 - np.outer(w, e)
    for w, a in zip(new_weights[2:], add, strict=True):
        new_slots += np.outer(w, a)
    out = p["output.weight"] @ np.concatenate([new_hidden, read.ravel()]) + p["output.bias"]

    def tensor(a: Array) -> torch.Tensor:
        return torch.from_numpy(a)[None]

    tape = Tape(*map(tensor, (hidden, carry, slots, weights, found)))
    drive = cell.drive(parameters, tensor(x))
    output, after = cell.step(parameters, tape, drive)
    peeked = cell.peek(parameters, tape, drive[:, None])[:, 0]
    for got, expected in (
        (output, out),
        (peeked, out),
        (after.hidden, new_hidden),
        (after.cell, new_carry),
        (after.slots, new_slots),
        (after.weights, new_weights),
        (after.found, read),
    ):
        np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-9)


def test_erasing_and_adding_with_full_weight_replaces_a_slot() -> None:
    slots, weights = torch.ones(1, 3, 2), torch.tensor([[[0.0, 1.0, 0.0]]])
    new = written(slots, weights, torch.ones(1, 1, 2), torch.tensor([[[5.0, 7.0]]]))
    assert new.tolist() == [[[1.0, 1.0], [5.0, 7.0], [1.0, 1.0]]]


@pytest.mark.parametrize("slots", [0.0, EMPTY, 1.0])
@pytest.mark.parametrize("scale", [0.0, 1e3, -1e3])
def test_addressing_is_a_distribution_with_finite_gradients_whatever_the_controller_says(
    slots: float, scale: float
) -> None:
    """A zero memory has no direction; a strongly negative sharpening must not invert weights."""
    cell = NtmCell(1, 1, slots=M, width=C)
    raw = torch.full((1, 1, 2, sum(cell.sizes)), scale, requires_grad=True)
    memory = torch.full((1, M, C), slots, requires_grad=True)
    last = torch.eye(M)[:2][None].requires_grad_()
    weights = cell.address(raw, memory, last)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 1, 2))
    weights.square().sum().backward()
    for leaf in (raw, memory, last):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()


def test_a_head_that_starts_anywhere_breaks_the_tie_of_a_constant_memory() -> None:
    cell = NtmCell(inputs=3, outputs=2, controller=8, slots=M, width=C)
    p = cell.init(generator())
    x = torch.ones(1, 2, 3)
    _, tape = cell.step(p, cell.start(p, 1), cell.drive(p, x)[:, 0])
    assert float(tape.slots.std(dim=1).min()) > 1e-4


def test_the_cell_learns_to_copy_three_bits() -> None:
    """One vector of three bits, a delimiter, then recall: from log 2 to almost nothing."""
    cell = NtmCell(inputs=4, outputs=3, controller=16, slots=8, width=6)
    draws = generator()
    p = {k: v.requires_grad_() for k, v in cell.init(draws).items()}
    optimiser = torch.optim.Adam(list(p.values()), lr=1e-2)
    for _ in range(200):
        bits = torch.randint(0, 2, (32, 2, 3), generator=draws).float()
        x = torch.zeros(32, 5, 4)
        x[:, :2, :3], x[:, 2, 3] = bits, 1
        output = cell.run(p, x)[:, 3:]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output, bits)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.2


def test_meta_training_learns_to_bind_labels() -> None:
    """After training on two-way clusters, accuracy is far above the chance of a half."""
    task, shape = Clusters(shape=(4,), spread=3.0), Shape(way=2, shot=2, query=4)
    stream = stream_of(task, shape)
    learner = Ntm(controller=32, slots=8, width=8, reads=1, meta_lr=3e-3)
    learner.setup(stream.info, 0, CPU)
    steps = learner.meta_fit(stream, 0)
    for _ in range(400):
        next(steps)
    e = sample(task, shape, Address.of("bound"), range(300))
    output = learner.predict(learner.adapt(e.support), e.query).output
    assert float((output.argmax(-1) == e.query_y).float().mean()) > 0.8
