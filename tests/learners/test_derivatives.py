"""Compiled meta-steps: the same numbers, only where it pays, and without a compiler none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from metabench.learners.gradient.derivatives import Fused
from metabench.learners.gradient.maml import Maml
from metabench.tasks import Shape
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU, stream_of
from tests.learners.test_gradient import case_of, float64


@pytest.mark.parametrize("loops", [False, True])
def test_a_compiled_meta_step_is_the_same_meta_step(loops: bool) -> None:
    with float64():
        learner, p, e = case_of("maml", "regression")
        eager, loss = learner.meta_gradient(p, e)
        learner.loops = loops
        learner.fuse(True)
        fused, fused_loss = learner.meta_gradient(p, e)
        compiled = [f for f in (learner.inner, learner.over_tasks) if isinstance(f, Fused)]
        assert len(compiled) == 1
        assert compiled[0].run != compiled[0].function
    assert float(loss) == pytest.approx(float(fused_loss))
    for key, value in eager.items():
        assert torch.allclose(value, fused[key], atol=1e-9), key


def test_without_a_compiler_the_meta_step_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*arguments: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda function, **options: unavailable)
    with float64():
        learner, p, e = case_of("maml", "regression")
        eager, _ = learner.meta_gradient(p, e)
        learner.fuse(True)
        fused, _ = learner.meta_gradient(p, e)
    assert all(torch.equal(eager[k], fused[k]) for k in eager)


def test_only_long_trainings_of_one_shape_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for steps, shot in ((9_999, 5), (10_000, 5), (10_000, (3, 5))):
        stream = stream_of(Sinusoid(), Shape(shot=shot, query=2), steps=steps)
        learner = Maml(hidden=4)
        learner.setup(stream.info, 0, CPU)
        asked: list[bool] = []
        monkeypatch.setattr(learner, "fuse", asked.append)
        fit = learner.meta_fit(stream, 0)
        next(fit)
        assert asked == [(steps, shot) == (10_000, 5)]
        fit.close()
        assert asked[1:] == [False]
