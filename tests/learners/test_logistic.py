"""Logistic regression beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metabench.episodes import Support
from metabench.learners.baselines.logistic import LogisticRegression
from metabench.rng import Address
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters

linear_model = pytest.importorskip("sklearn.linear_model")


def centred(scores: np.ndarray) -> np.ndarray:
    """Log-odds are known up to a constant."""
    result: np.ndarray = scores - scores.mean(axis=-1, keepdims=True)
    return result


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(
    ("dimensions", "spread", "shot"), [(6, 0.1, (1, 9)), (6, 2.0, 3), (60, 5.0, (1, 2))]
)
def test_scores_are_scikit_learns(
    c: float, dimensions: int, spread: float, shot: int | tuple[int, int]
) -> None:
    task = Clusters(shape=(dimensions,), spread=spread)
    e = sample(task, Shape(way=(2, 5), shot=shot, query=4), Address.of("lr"), range(8))
    learner = LogisticRegression(C=c)
    output = learner.predict(learner.adapt(e.support), e.query).output
    for t in range(8):
        way, keep, asked = int(e.support.way[t]), e.support.mask[t], e.query.mask[t]
        # The binary form penalises one weight vector, the softmax two of half the length.
        theirs = linear_model.LogisticRegression(
            C=c if way > 2 else 2 * c, solver="newton-cg", tol=1e-9, max_iter=1000
        ).fit(e.support.x[t, keep].double().numpy(), e.support.y[t, keep].numpy())
        expected = theirs.decision_function(e.query.x[t, asked].double().numpy())
        if way == 2:
            expected = np.stack([-expected, expected], axis=1) / 2
        scores = output[t, asked, :way].double().numpy()
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(centred(scores), centred(expected), atol=1e-4 * scale)
        assert (output[t, :, way:] == -torch.inf).all()


def test_a_class_without_items_is_never_predicted() -> None:
    e = sample(Clusters(shape=(4,)), Shape(way=3, shot=2, query=3), Address.of("m"), range(5))
    s = e.support
    without = Support(s.x, s.y, s.mask & (s.y != 1), s.way)
    learner = LogisticRegression()
    output = learner.predict(learner.adapt(without), e.query).output
    assert (output[..., 1] == -torch.inf).all()
    assert output[..., [0, 2]].isfinite().all()


def test_separated_classes_and_alike_inputs_have_a_solution() -> None:
    x = torch.tensor([[[100.0], [-100.0]], [[1.0], [1.0]]])
    support = Support(
        x, torch.tensor([[0, 1]] * 2), torch.ones(2, 2, dtype=torch.bool), torch.tensor([2, 2])
    )
    state = LogisticRegression(C=1000.0).adapt(support)
    assert state.coefficients.isfinite().all()
    assert float(state.intercept.abs().max()) < 1e-6
