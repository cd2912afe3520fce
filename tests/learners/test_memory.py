"""What the learners of the memory family have in common."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.episodes import Episodes, Query, Support
from metabench.errors import MetabenchError
from metabench.learners.contract import LEARNERS, TaskInfo
from metabench.learners.memory.codes import decode, draw_codes, encode
from metabench.learners.memory.sequence import SequenceLearner
from metabench.rng import Address
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import train
from tests.conftest import CPU, stream_of

SMALL: dict[str, dict[str, Any]] = {
    "mann": {"controller": 8, "slots": 6, "width": 4, "reads": 2},
    "ntm": {"controller": 8, "slots": 6, "width": 4, "reads": 2, "writes": 2},
    "lstm": {"controller": 8},
    "snail": {"channels": 8},
    "cnp": {"width": 16},
    "anp": {"width": 16, "heads": 4},
    "transformer": {"width": 16, "layers": 2, "heads": 2},
}
RECURRENT = ("mann", "ntm", "lstm")
UNORDERED = ("cnp", "anp", "transformer")
CASES = {
    "classification": (Clusters(shape=(6,)), Shape(way=3, shot=3, query=2)),
    "regression": (Sinusoid(), Shape(shot=6, query=4)),
}


def made(name: str, task: TaskDistribution, shape: Shape, steps: int = 0, **more: Any) -> Any:
    """A small learner after so many meta-steps."""
    learner = LEARNERS.get(name)(**{**SMALL[name], **more})
    learner.setup(stream_of(task, shape).info, 0, CPU)
    if steps:
        train(learner, stream_of(task, shape, steps=steps), 0)
    return learner


def drawn(task: TaskDistribution, shape: Shape, tasks: int = 3) -> Episodes:
    return sample(task, shape, Address.of("memory"), range(tasks))


def reordered(support: Support, order: torch.Tensor) -> Support:
    return Support(support.x[:, order], support.y[:, order], support.mask[:, order], support.way)


def output(learner: Any, support: Support, query: Query) -> torch.Tensor:
    return learner.predict(learner.adapt(support), query).output


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("name", UNORDERED)
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)))
def test_the_order_of_the_support_set_does_not_matter(
    name: str, kind: str, order: list[int]
) -> None:
    task, shape = CASES[kind]
    shape = shape.model_copy(update={"shot": 2 if kind == "classification" else 6})
    learner, e = made(name, task, shape, steps=1), drawn(task, shape)
    turned = reordered(e.support, torch.tensor(order))
    expected, found = output(learner, e.support, e.query), output(learner, turned, e.query)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["mann", "ntm", "lstm", "snail"])
def test_a_sequential_learner_sees_the_order_of_the_support_set(name: str) -> None:
    task, shape = CASES["classification"]
    learner, e = made(name, task, shape, steps=1), drawn(task, shape)
    turned = reordered(e.support, torch.arange(8, -1, -1))
    assert not torch.allclose(
        output(learner, e.support, e.query), output(learner, turned, e.query), atol=1e-6
    )
    assert LEARNERS.get(name).card.sequential


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("name", SMALL)
def test_no_query_influences_another(name: str, kind: str) -> None:
    task, shape = CASES[kind]
    learner, e = made(name, task, shape, steps=1), drawn(task, shape)
    state = learner.adapt(e.support)
    whole = learner.predict(state, e.query).output
    others = e.query.x.clone()
    others[:, 1:] = 100.0
    changed = learner.predict(state, Query(others, e.query.mask)).output
    torch.testing.assert_close(changed[:, 0], whole[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("name", SMALL)
def test_padding_has_no_effect_wherever_it_lies(name: str, kind: str) -> None:
    task, shape = CASES[kind]
    learner, e = made(name, task, shape, steps=1), drawn(task, shape)
    s = e.support
    at = torch.tensor([0, 0, 1, 2, 2, 3, 4, 5] + [6, 7, 8] * (kind == "classification"))
    mask = torch.ones(3, len(at), dtype=torch.bool)
    mask[:, [0, 3]] = False
    padded = replace(reordered(s, at), mask=mask)
    padded.x[:, [0, 3]] = 7.0
    expected, found = output(learner, s, e.query), output(learner, padded, e.query)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_a_thousand_constant_inputs_leave_outputs_and_gradients_finite(
    name: str, value: float
) -> None:
    task, shape = CASES["classification"]
    learner = made(name, task, shape)
    n = 1000
    y = torch.zeros(2, n, dtype=torch.int64)
    mask = torch.ones(2, n, dtype=torch.bool)
    support = Support(torch.full((2, n, 6), value), y, mask, torch.full((2,), 3))
    query = Query(torch.full((2, 1, 6), value), mask[:, :1])
    loss = learner.meta_loss(learner.parameters, Episodes(support, query, y[:, :1]))
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    for key, parameter in learner.parameters.items():
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", RECURRENT)
def test_a_query_is_one_further_step_that_is_not_kept(name: str) -> None:
    task, shape = CASES["classification"]
    learner: SequenceLearner[Any] = made(name, task, shape, steps=1)
    e, p = drawn(task, shape), learner.frozen
    state = learner.adapt(e.support)
    drive = learner.drive(p, e.query.x)
    peeked = learner.peek(p, state, drive)
    for i in range(drive.shape[1]):
        stepped, _ = learner.step(p, state, drive[:, i])
        torch.testing.assert_close(peeked[:, i], stepped, atol=1e-5, rtol=1e-4)


def test_codes_rename_the_classes_and_back() -> None:
    info = TaskInfo("classification", (2,), 0, Shape(way=2, shot=1, query=1), max_way=4)
    codes = draw_codes(info, 50, Address.of("codes").torch_generator())
    assert codes is not None
    assert codes.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 50
    assert len({tuple(c.tolist()) for c in codes}) > 10
    y = torch.tensor([[0, 1, 0]]).expand(50, -1)
    by_code = torch.nn.functional.one_hot(encode(y, codes), 4)
    assert torch.equal(decode(by_code, codes).argmax(-1), y)


def test_no_codes_are_drawn_where_training_uses_every_one() -> None:
    info = TaskInfo("classification", (2,), 0, Shape(way=(2, 4), shot=1, query=1), max_way=4)
    assert draw_codes(info, 5, torch.Generator()) is None


@pytest.mark.parametrize("name", ["cnp", "transformer"])
def test_label_codes_that_training_has_no_use_for_are_trained_too(name: str) -> None:
    """Trained on two classes of at most four: classes 2 and 3 must serve as well as 0 and 1."""
    task, shape = Clusters(shape=(8,), spread=4.0), Shape(way=2, shot=3, query=3)
    learner = LEARNERS.get(name)(**{**SMALL[name], "width": 32, "meta_lr": 2e-3})
    stream = stream_of(task, shape, steps=400)
    stream.info = replace(stream.info, max_way=4)
    learner.setup(stream.info, 0, CPU)
    train(learner, stream, 0)
    e = sample(task, shape, Address.of("codes"), range(100))
    support = replace(e.support, y=e.support.y + 2, way=e.support.way + 2)
    scores = output(learner, support, e.query)[..., 2:]
    assert float((scores.argmax(-1) == e.query_y).float().mean()) > 0.85
    wide = sample(task, Shape(way=4, shot=3, query=3), Address.of("wide"), range(100))
    hits = output(learner, wide.support, wide.query).argmax(-1) == wide.query_y
    assert float(hits.float().mean()) > 0.4, "four classes at once, where chance is a quarter"


@pytest.mark.parametrize("name", ["anp", "transformer"])
def test_heads_that_do_not_divide_the_width_are_refused(name: str) -> None:
    with pytest.raises(MetabenchError, match="do not divide"):
        made(name, *CASES["regression"], heads=3)


def test_training_with_more_classes_than_codes_is_refused() -> None:
    with pytest.raises(MetabenchError, match="codes"):
        made("cnp", *CASES["classification"], train_way=9)
