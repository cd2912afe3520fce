"""Matching networks against a plain transcription."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.episodes import Support, concatenate
from metabench.learners.metric.matchingnet import MatchingNet
from metabench.learners.metric.matchingnet_fce import FullContextMatchingNet, lstm_step
from metabench.rng import Address
from metabench.scoring import score
from metabench.tasks import Shape, sample
from metabench.tasks.clusters import Clusters
from tests.conftest import CPU, stream_of

TASK, SHAPE = Clusters(shape=(6,)), Shape(way=3, shot=2, query=2)


def built(learner: MatchingNet) -> MatchingNet:
    learner.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    return learner


def softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_class_scores_are_the_labels_averaged_by_a_softmax_over_cosines() -> None:
    e = sample(TASK, Shape(way=(2, 4), shot=(1, 3), query=2), Address.of("m"), range(20))
    learner = built(MatchingNet(scale=3.0))
    with torch.no_grad():
        state = learner.fit(learner.frozen, e.support.x, e.support)
        scores = learner.scores(learner.frozen, state, e.query.x)
    for t in range(20):
        keep = e.support.mask[t].numpy()
        g, y = e.support.x[t].double().numpy()[keep], e.support.y[t].numpy()[keep]
        x = e.query.x[t].double().numpy()
        cosine = (x @ g.T) / np.outer(
            np.linalg.norm(x, axis=1).clip(1e-12), np.linalg.norm(g, axis=1)
        )
        way = int(e.support.way[t])
        expected = softmax(3 * cosine) @ np.eye(way)[y]
        np.testing.assert_allclose(scores[t, :, :way].exp().numpy(), expected, atol=1e-5)
        assert (scores[t, :, way:] == -np.inf).all()


@pytest.mark.parametrize("kind", [MatchingNet, FullContextMatchingNet])
@given(i=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_attention_is_a_convex_combination_of_the_items_that_are_there(
    kind: type[MatchingNet], i: int
) -> None:
    e = sample(TASK, Shape(way=(2, 3), shot=(1, 2), query=2), Address.of("convex"), [i, i + 1])
    learner = built(kind(hidden=8))
    state = learner.adapt(e.support)
    with torch.no_grad():
        z, _ = learner.embed(learner.frozen, e.query.x, learner.running)
        weights = learner.attention(learner.frozen, state, z).exp()
    assert torch.allclose(weights.sum(-1), torch.ones(2, z.shape[1]), atol=1e-5)
    assert float(weights.masked_select(~e.support.mask[:, None].expand_as(weights)).sum()) == 0.0
    mass = learner.predict(state, e.query).output.exp()
    assert torch.allclose(mass.sum(-1), torch.ones(2, z.shape[1]), atol=1e-5)


def test_without_a_scale_a_perfect_match_at_twenty_ways_is_nearly_unnoticed() -> None:
    """The trap: softmax over cosines alone gives e / (e + 19) where the match is orthogonal."""
    x = torch.eye(20)[None]
    mask = torch.ones(1, 20, dtype=torch.bool)
    support = Support(x, torch.arange(20)[None], mask, torch.tensor([20]))
    for scale, expected in ((1.0, np.e / (np.e + 19)), (10.0, np.e**10 / (np.e**10 + 19))):
        learner = MatchingNet(scale=scale, learn_scale=False)
        state = learner.fit({}, x, support)
        found = learner.scores({}, state, x).exp().diagonal(dim1=1, dim2=2)
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5)


def test_the_log_odds_of_two_classes_stay_within_twice_the_scale() -> None:
    e = sample(TASK, Shape(way=2, shot=1, query=5), Address.of("range"), range(50))
    for scale in (1.0, 10.0):
        learner = built(MatchingNet(scale=scale))
        scores = learner.predict(learner.adapt(e.support), e.query).output
        assert float((scores[..., 0] - scores[..., 1]).abs().max()) <= 2 * scale * (1 + 1e-5)


def test_an_item_without_features_has_finite_scores_and_gradients() -> None:
    """A ReLU network may embed an input at the origin, where a cosine is undefined."""
    e = sample(TASK, SHAPE, Address.of("origin"), range(2))
    z = torch.zeros(2, 6, 6, requires_grad=True)
    learner = built(MatchingNet())
    state = learner.fit(learner.parameters, z, e.support)
    scores = learner.scores(learner.parameters, state, z)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_full_context_embeddings_equal_the_appendix_written_out() -> None:
    e = sample(TASK, SHAPE, Address.of("fce"), range(1))
    learner = FullContextMatchingNet(hidden=5, attention_steps=3)
    learner.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    rng = np.random.default_rng(0)
    z, q = rng.normal(size=(6, 5)), rng.normal(size=(2, 5))
    p = {k: v.double() for k, v in learner.frozen.items()}

    def cell(name: str, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
        gates = p[f"{name}.weight"].numpy() @ np.concatenate([x, h]) + p[f"{name}.bias"].numpy()
        i, f, o, g = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    g = z.copy()
    for name, order in (("forwards", range(6)), ("backwards", range(5, -1, -1))):
        h = c = np.zeros(5)
        for i in order:
            h, c = cell(name, z[i], h, c)
            g[i] += h
    f = []
    for x in q:
        h = c = np.zeros(5)
        for _ in range(3):
            read = softmax(g @ h) @ g
            h_hat, c = cell("query", x, np.concatenate([h, read]), c)
            h = h_hat + x
        f.append(h)

    state = learner.fit(p, torch.from_numpy(z)[None], e.support)
    np.testing.assert_allclose(state.g[0].numpy(), g, atol=1e-10)
    found = learner.in_context(p, state, torch.from_numpy(q)[None])
    np.testing.assert_allclose(found[0].numpy(), np.stack(f), atol=1e-10)


def test_the_recurrent_cell_is_that_of_torch() -> None:
    generator = Address.of("cell").torch_generator()
    cell = torch.nn.LSTMCell(3, 4)
    x, h, c = (torch.randn(2, n, generator=generator) for n in (3, 4, 4))
    with torch.no_grad():
        for weight in cell.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        # torch has the gates in the order in, forget, new, out.
        order = torch.tensor([0, 1, 3, 2])
        joined = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)
        weight = joined.view(4, 4, 7)[order].flatten(0, 1)
        bias = (cell.bias_ih + cell.bias_hh).view(4, 4)[order].flatten()
        got = lstm_step({"a.weight": weight, "a.bias": bias}, "a", x, h, c)
        for ours, theirs in zip(got, cell(x, (h, c)), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)


def test_full_context_follows_the_order_of_the_support_and_ignores_padding_anywhere() -> None:
    e = sample(TASK, SHAPE, Address.of("sequence"), range(3))
    learner = FullContextMatchingNet(hidden=8)
    learner.setup(stream_of(TASK, SHAPE).info, 0, CPU)
    s = e.support
    whole = learner.predict(learner.adapt(s), e.query).output
    turned = Support(s.x.flip(1), s.y.flip(1), s.mask, s.way)
    assert not torch.allclose(whole, learner.predict(learner.adapt(turned), e.query).output)
    first, rest = (
        Support(s.x[:, a:b], s.y[:, a:b], s.mask[:, a:b], s.way) for a, b in ((0, 2), (2, 6))
    )
    empty = Support(first.x + 9, first.y, torch.zeros_like(first.mask), first.way)
    gapped = concatenate(concatenate(first, empty), rest)
    assert torch.allclose(whole, learner.predict(learner.adapt(gapped), e.query).output, atol=1e-5)


@pytest.mark.parametrize("kind", [MatchingNet, FullContextMatchingNet])
def test_meta_training_learns_where_a_cosine_of_raw_inputs_fails(kind: type[MatchingNet]) -> None:
    """Only meta-training can learn that all but four of sixty dimensions are noise."""
    task, shape = _FewDirections(shape=(60,), spread=2.0), Shape(way=4, shot=1, query=4)
    e = sample(task, shape, Address.of("learned"), range(300))
    stream = stream_of(task, shape)
    learner = kind(hidden=32, meta_batch=8)
    learner.setup(stream.info, 0, CPU)
    before = score(learner.predict(learner.adapt(e.support), e.query), e)
    fit = learner.meta_fit(stream, 0)
    for _ in range(120):
        next(fit)
    after = score(learner.predict(learner.adapt(e.support), e.query), e)
    gain = after - before
    assert float(gain.mean()) > 0.05 + 4 * float(gain.std()) / len(gain) ** 0.5


class _FewDirections(Clusters):
    """Class means differ in the first four dimensions only."""

    def realise(self, plan, shape, device):  # type: ignore[no-untyped-def]
        means = np.array(plan["means"])
        means[..., 4:] = 0
        return super().realise({**plan, "means": means}, shape, device)
