"""What a learner must do: one function a property; it returns, or raises Broken."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from safetensors.torch import load, save
from torch import Tensor

from metabench.checking.embedding import embedding
from metabench.checking.subject import MAX_WAY, Broken, Subject, other_global_seed, with_queries
from metabench.episodes import Episodes, Prediction, Support
from metabench.learners.contract import MetaTrained, begin, observe
from metabench.scoring import same, score
from metabench.tasks.base import bounds
from metabench.tasks.clusters import Clusters
from metabench.training import train

Property = Callable[[Subject], None]
EPISODES = 16
STEPS_BEFORE = 1


def shapes(s: Subject) -> None:
    """Predictions are [T, Q, W] or [T, Q, D] and finite."""
    s.predict(s.episodes(2))


def seeding(s: Subject) -> None:
    """The same seed gives the same predictions, whatever the global generators hold."""
    episodes = s.episodes(2)
    outputs = []
    for global_seed in (1, 2):
        with other_global_seed(global_seed):
            outputs.append(s.predict(episodes, s.trained(seed=7)))
    if not same(outputs[0], outputs[1], tolerance=1e-6):
        raise Broken("two runs with the same seed differ: randomness that the seed does not decide")


def purity(s: Subject) -> None:
    """Adapting and predicting change neither the learner nor the state nor their arguments."""
    learner = s.ready
    a, b = s.episodes(3), s.episodes(3, start=100)
    before = {k: v.clone() for k, v in learner.state_dict().items()} if _saves(s) else {}
    kept = (a.support.x.clone(), a.support.y.clone(), a.query.x.clone())
    state = learner.adapt(a.support)
    first = s.valid(learner.predict(state, a.query), a)
    s.valid(learner.predict(state, replace(a.query, x=b.query.x)), a)
    again = s.valid(learner.predict(state, a.query), a)
    if not same(first, again, tolerance=1e-6):
        raise Broken("the second prediction of the same queries differs: predict changes the state")
    s.predict(b)
    if not same(first, s.predict(a), tolerance=1e-6):
        raise Broken("an episode met in between changes predictions: adapt or predict keeps state")
    if _saves(s):
        after = learner.state_dict()
        changed = [k for k, v in before.items() if k not in after or not torch.equal(v, after[k])]
        if changed:
            raise Broken(f"adapt or predict changed the learner's {changed[0]!r}")
    if not all(map(torch.equal, kept, (a.support.x, a.support.y, a.query.x))):
        raise Broken("adapt or predict wrote into the tensors it was given")


def query_order(s: Subject) -> None:
    """Permuting the queries permutes the predictions."""
    episodes = s.episodes(2)
    n = episodes.query.x.shape[1]
    order = torch.arange(n - 1, -1, -1, device=s.device)
    expected = s.predict(episodes)[:, order.cpu()]
    if not same(expected, s.predict(with_queries(episodes, order))):
        raise Broken("predictions follow the position of a query, not its content")


def query_chunks(s: Subject) -> None:
    """A query's prediction does not depend on what else is in the batch."""
    if s.learner_class.card.transductive:
        return
    episodes = s.episodes(2)
    state = s.ready.adapt(episodes.support)

    def predict(part: Episodes) -> Tensor:
        return s.valid(s.ready.predict(state, part.query), part)

    whole = predict(episodes)
    n = episodes.query.x.shape[1]
    for size, what in ((1, "alone"), (n // 2, "in another chunk")):
        parts = torch.arange(n, device=s.device).split(max(1, size))
        split = torch.cat([predict(with_queries(episodes, p)) for p in parts], dim=1)
        if not same(whole, split):
            raise Broken(
                f"a query's prediction changes when it comes {what}: it uses the other queries "
                "(batch statistics?), but the card does not say 'transductive'"
            )
    noise = torch.randn(episodes.query.x.shape, generator=torch.Generator().manual_seed(0))
    mates = replace(
        episodes.query,
        x=torch.cat([episodes.query.x, 5 * noise.to(episodes.query.x)], dim=1),
        mask=torch.cat([episodes.query.mask] * 2, dim=1),
    )
    crowded = replace(episodes, query=mates, query_y=torch.cat([episodes.query_y] * 2, dim=1))
    if not same(whole, predict(crowded)[:, :n]):
        raise Broken(
            "a query's prediction changes in the company of noise: it uses the other queries, "
            "but the card does not say 'transductive'"
        )


def task_independence(s: Subject) -> None:
    """A task's predictions do not depend on the other tasks of the batch."""
    together = s.predict(s.episodes(3))
    alone = torch.cat([s.predict(s.episodes(1, start=i)) for i in range(3)])
    if not same(together, alone):
        raise Broken("a task's predictions change with the other tasks of the batch")


def padding(s: Subject) -> None:
    """Way and shot vary between tasks, and padding has no effect."""
    classes = s.setting.kind == "classification"
    way = (2, MAX_WAY) if classes else 0
    episodes = s.episodes(4, s.setting.shape(way=way, shot=(1 if classes else 3, 5)))
    together = s.predict(episodes)
    for i in range(4):
        one = _task(episodes, i)
        alone = s.predict(one)
        width = int(one.support.way) if classes else alone.shape[-1]
        queries = alone.shape[1]
        if not same(together[i : i + 1, :queries, :width], alone[..., :width]):
            raise Broken(
                f"a task of {_size(one)} is predicted otherwise when it is padded: mask is ignored"
            )


def labels(s: Subject) -> None:
    """Naming the classes otherwise changes the names of the predictions and nothing else."""
    if s.setting.kind == "regression":
        return
    episodes = s.episodes(_count(s))
    way = bounds(s.setting.way)[1]
    turned = torch.arange(1, way + 1, device=s.device) % way
    relabelled = replace(
        episodes,
        support=replace(episodes.support, y=turned[episodes.support.y]),
        query_y=turned[episodes.query_y],
    )
    before, after = s.predict(episodes), s.predict(relabelled)
    accuracy = [score(Prediction(o), e) for o, e in ((before, episodes), (after, relabelled))]
    difference = accuracy[1] - accuracy[0]
    error = float(difference.std()) / math.sqrt(len(difference))
    if abs(float(difference.mean())) > 5 * error + 0.02:
        mean = float(difference.mean())
        raise Broken(f"accuracy changes by {mean:+.2f} when the classes are renamed")
    agreement = float((turned.cpu()[before.argmax(-1)] == after.argmax(-1)).double().mean())
    # A learner at chance may guess anew; one that knows something must know it by any name.
    spread = float(accuracy[0].std()) / math.sqrt(len(difference))
    knows = abs(float(accuracy[0].mean()) - 1 / way) > 5 * spread + 0.02
    if knows and agreement < 0.5:
        raise Broken(
            f"only {agreement:.0%} of the predictions stay the same when the classes are renamed"
        )


def constant_inputs(s: Subject) -> None:
    """Inputs that are all alike score chance."""
    # All queries of an episode are one picture, so each episode scores exactly chance.
    episodes = s.episodes(2)
    alike = replace(
        episodes,
        support=replace(episodes.support, x=torch.ones_like(episodes.support.x)),
        query=replace(episodes.query, x=torch.ones_like(episodes.query.x)),
    )
    if s.setting.kind == "regression":
        s.predict(alike)
    else:
        _at_chance(s, _accuracy(s, alike), "constant inputs")


def noise_inputs(s: Subject) -> None:
    """Inputs without information score chance, also when queries come in the support's order."""
    if s.setting.kind == "regression":
        return
    nothing = Clusters(shape=s.setting.distribution.input_shape, spread=0.0)
    episodes = s.episodes(_count(s), distribution=nothing)
    state = s.ready.adapt(episodes.support)
    for what, made in (
        ("noise inputs", episodes),
        ("noise inputs in class order", _reordered(episodes, episodes.query_y.argsort(dim=1))),
        ("noise inputs in the support's order", _in_order_of_support(episodes)),
    ):
        output = s.valid(s.ready.predict(state, made.query), made)
        _at_chance(s, score(Prediction(output), made), what)


def checkpoints(s: Subject) -> None:
    """A saved and loaded learner predicts the same, and a resumed training ends the same."""
    if not _saves(s):
        return
    episodes = s.episodes(2)
    whole = s.trained(2 * STEPS_BEFORE)
    tensors = {k: v.detach().cpu().contiguous() for k, v in whole.state_dict().items()}
    restored = s.fresh()
    restored.load_state_dict(load(save(tensors)))
    if not same(s.predict(episodes, whole), s.predict(episodes, restored), tolerance=1e-6):
        raise Broken("a learner loaded from its state_dict predicts otherwise: state is missing")
    if not isinstance(whole, MetaTrained):
        return
    stream = s.stream(STEPS_BEFORE)
    half = s.fresh()
    train(half, stream, 0)
    saved = load(save({k: v.detach().cpu().contiguous() for k, v in half.state_dict().items()}))
    resumed = s.fresh()
    resumed.load_state_dict(saved)
    rest = s.stream(2 * STEPS_BEFORE)
    rest.used = stream.used
    train(resumed, rest, 0)
    if not same(s.predict(episodes, whole), s.predict(episodes, resumed), tolerance=1e-6):
        raise Broken(
            "training resumed from a checkpoint ends elsewhere: state_dict lacks something "
            "(the optimiser's state?), or meta_fit keeps state of its own"
        )


def streaming(s: Subject) -> None:
    """Support items that come in two parts give valid predictions."""
    episodes = s.episodes(3, s.setting.shape(shot=4))
    x, y, mask = episodes.support.x, episodes.support.y, episodes.support.mask
    cut = x.shape[1] // 2
    way = episodes.support.way
    first = Support(x[:, :cut], y[:, :cut], mask[:, :cut], way)
    rest = Support(x[:, cut:], y[:, cut:], mask[:, cut:], way)
    stream = observe(s.ready, begin(s.ready, first), rest)
    s.valid(s.ready.predict(stream.state, episodes.query), episodes)


PROPERTIES: tuple[tuple[str, Property], ...] = (
    ("shapes", shapes),
    ("seeding", seeding),
    ("purity", purity),
    ("query order", query_order),
    ("query chunks", query_chunks),
    ("task independence", task_independence),
    ("variable way and shot", padding),
    ("label permutation", labels),
    ("constant inputs", constant_inputs),
    ("noise inputs", noise_inputs),
    ("checkpoints", checkpoints),
    ("streaming", streaming),
    ("embedding", embedding),
)


def _saves(s: Subject) -> bool:
    return hasattr(s.learner_class, "state_dict")


def _task(episodes: Episodes, i: int) -> Episodes:
    """Task i with its padding cut off."""
    keep, asked = episodes.support.mask[i], episodes.query.mask[i]
    support = Support(
        episodes.support.x[i : i + 1, keep],
        episodes.support.y[i : i + 1, keep],
        episodes.support.mask[i : i + 1, keep],
        episodes.support.way[i : i + 1],
    )
    query = replace(
        episodes.query,
        x=episodes.query.x[i : i + 1, asked],
        mask=episodes.query.mask[i : i + 1, asked],
    )
    return Episodes(support, query, episodes.query_y[i : i + 1, asked])


def _size(one: Episodes) -> str:
    items = one.support.x.shape[1]
    way = int(one.support.way)
    return f"{way} classes and {items} items" if way else f"{items} items"


def _accuracy(s: Subject, episodes: Episodes) -> Tensor:
    return score(Prediction(s.predict(episodes)), episodes)


def _at_chance(s: Subject, accuracy: Tensor, what: str) -> None:
    chance = 1 / bounds(s.setting.way)[1]
    # Predictions of one episode may all be alike, so the episode is the unit of the error.
    if abs(float(accuracy.mean()) - chance) > 5 * _chance_error(chance, len(accuracy)):
        raise Broken(
            f"accuracy is {float(accuracy.mean()):.2f} on {what}, where chance is {chance:.2f}: "
            "something other than the inputs tells the label (the position?)"
        )


def _chance_error(chance: float, episodes: int) -> float:
    """Standard error of the accuracy of a learner that gives an episode one guess for all."""
    return math.sqrt(chance * (1 - chance) / episodes)


def _count(s: Subject) -> int:
    """How many episodes; fewer of those that are expensive."""
    return EPISODES // 2 if len(s.setting.distribution.input_shape) > 1 else EPISODES


def _in_order_of_support(episodes: Episodes) -> Episodes:
    """Queries sorted so that query i has the label of support item i, as long as they last."""
    rank = _rank_within_class(episodes.query_y)
    position = _rank_within_class(episodes.support.y)
    order = []
    for labels, ranks, y, r in zip(
        episodes.query_y, rank, episodes.support.y, position, strict=True
    ):
        place = {(int(a), int(b)): i for i, (a, b) in enumerate(zip(y, r, strict=True))}
        key = [
            place.get((int(a), int(b)), len(place) + i)
            for i, (a, b) in enumerate(zip(labels, ranks, strict=True))
        ]
        order.append(torch.tensor(key).argsort())
    return _reordered(episodes, torch.stack(order).to(episodes.query_y.device))


def _reordered(episodes: Episodes, order: Tensor) -> Episodes:
    """The queries of each task in an order [T, Q] of its own."""
    x = episodes.query.x
    index = order.view(*order.shape, *[1] * (x.ndim - 2)).expand_as(x)
    return replace(
        episodes,
        query=replace(episodes.query, x=x.gather(1, index)),
        query_y=episodes.query_y.gather(1, order),
    )


def _rank_within_class(y: Tensor) -> Tensor:
    """How many earlier items of the row have the same class."""
    same_class = y[:, :, None] == y[:, None]
    return same_class.tril(-1).sum(-1)
