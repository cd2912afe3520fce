"""Tasks in a loop: the same bits on any number of threads, and errors that reach the caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.learners.gradient.base import GradientLearner
from metabench.learners.gradient.lifting import looped
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import stream_of
from tests.learners.test_gradient import built

IMAGES, SHAPE = Clusters(shape=(1, 16, 16), spread=1.0), Shape(way=3, shot=2, query=2)


@pytest.fixture
def threads() -> Iterator[None]:
    """Whatever a test sets, the next one has what it had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def images(name: str, **kw: Any) -> GradientLearner:
    return built(name, IMAGES, SHAPE, filters=8, inner_steps=2, inner_lr=0.3, meta_batch=5, **kw)


def test_a_loop_gives_what_vmap_gives_on_nested_arguments() -> None:
    def one(pair: tuple[Tensor, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sum": pair[0] + pair[1] * more["a"]}

    a, b, c = torch.rand(3, 2), torch.rand(3, 2), torch.rand(3)
    expected = torch.func.vmap(one)((a, b), {"a": c})
    assert torch.equal(looped(one)((a, b), {"a": c})["sum"], expected["sum"])


@pytest.mark.parametrize("name", ["maml", "maml-transductive", "maml++", "imaml", "protomaml"])
@pytest.mark.usefixtures("threads")
def test_training_and_test_have_the_same_bits_on_any_number_of_threads(name: str) -> None:
    found = []
    e = sample(IMAGES, SHAPE, Address.of("threads"), range(5))
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        learner: Any = images(name)
        steps = learner.meta_fit(stream_of(IMAGES, SHAPE, steps=4), 0)
        losses = [next(steps).loss for _ in range(3)]
        outputs = learner.predict(learner.adapt(e.support), e.query).output
        found.append([*losses, *learner.frozen.values(), outputs])
        assert torch.get_num_threads() == count
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.usefixtures("threads")
def test_tasks_run_at_the_same_time_each_on_one_thread() -> None:
    together = threading.Barrier(2, timeout=10)
    seen: list[tuple[int, bool, int]] = []

    def one(x: Tensor) -> Tensor:
        together.wait()  # broken unless two tasks are here
        nested = looped(lambda y: y * threading.get_ident())(torch.ones(2, dtype=torch.int64))
        assert set(nested.tolist()) == {threading.get_ident()}
        seen.append((torch.get_num_threads(), torch.is_grad_enabled(), threading.get_ident()))
        return x + 1

    torch.set_num_threads(2)
    with torch.no_grad():
        assert looped(one)(torch.arange(4)).tolist() == [1, 2, 3, 4]
    assert {s[:2] for s in seen} == {(1, False)}
    assert len({s[2] for s in seen}) == 2
    assert threading.get_ident() in {s[2] for s in seen}


@pytest.mark.usefixtures("threads")
def test_while_something_is_compiled_tasks_stay_in_the_calling_thread() -> None:
    torch.set_num_threads(2)
    found = looped(lambda x: x + threading.get_ident(), alone=True)(torch.zeros(4).long())
    assert set(found.tolist()) == {threading.get_ident()}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["caller", "helper"])
@pytest.mark.usefixtures("threads")
def test_an_error_in_any_thread_reaches_the_caller(where: str, error: type[BaseException]) -> None:
    together = threading.Barrier(2, timeout=10)

    def one(x: Tensor) -> Tensor:
        if int(x) < 2:
            together.wait()
        if (threading.current_thread() is threading.main_thread()) == (where == "caller"):
            raise error("task")
        return x

    torch.set_num_threads(2)
    with pytest.raises(error, match="task"):
        looped(one)(torch.arange(4))
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("threads")
def test_a_compiled_loop_has_the_same_bits_on_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced and partitioned as ever, without the C++ compiler, which takes most of the time.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    shape = Shape(shot=5, query=5)
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        learner: Any = built("maml", Sinusoid(), shape, meta_batch=4, fused_training=True)
        learner.loops = True
        steps = learner.meta_fit(stream_of(Sinusoid(), shape, steps=5), 0)
        losses = [next(steps).loss]
        assert learner.compiling
        losses += [next(steps).loss for _ in range(2)]
        assert not learner.compiling
        assert learner.inner.run != learner.inner.function
        found.append([*losses, *learner.frozen.values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
