"""Stream losses of a learner, and of the oracle that knows the drift, as episode rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from metabench.episodes import Episodes, Query, Support, to_device
from metabench.errors import TimeLimitError
from metabench.learners.contract import MetaLearner, begin, observe
from metabench.rng import Address
from metabench.scoring import query_scores
from metabench.streams.filters import filtered
from metabench.tasks.drift import StreamBatch, StreamSpec, draw_streams
from metabench.tasks.functions import FunctionFamily

ITEMS = 2**14
"""Support and query items evaluated together, at most."""
STATIC, BEFORE, AFTER, INTERVAL = "static", "before", "after-", "interval"
"""Metrics: loss of the frozen prior; loss at the last item of a regime; loss so many items after a
switch; items between two adaptations."""
AGES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
"""Items since the switch at which the loss is kept."""


def evaluate_streams(
    learner: MetaLearner[Any] | None,
    family: FunctionFamily,
    spec: StreamSpec,
    address: Address,
    count: int,
    device: torch.device | None = None,
    deadline: float = float("inf"),
) -> pd.DataFrame:
    """Rows (condition, level, episode, metric, value) of ``count`` streams at every level.

    ``condition`` is the spec's name, level i its i-th rate of drift, ``episode`` the stream. Every
    item is predicted before its label is seen; "mse" is the mean squared error about the function
    over the ``steps`` scored items. Beside it stand "interval", "before" and "after-k" (k of
    ``AGES``), the mean loss over the switches of the stream, where there are any. Without a learner
    the rows are the oracle's: "mse" is the exact filter's, with "before" and "after-k", and
    "static" that of the prior mean, which is zero. Streams are those of the address, the same for
    every learner and, as far as they can be, at every level.

    Raises MetabenchError where the family has no exact filter, and TimeLimitError past the
    ``deadline`` (time.monotonic).
    """
    drawn = draw_streams(family, spec, address, range(count))
    frames = []
    for level, value in enumerate(spec.levels, start=1):
        batch = drawn.at(spec.shift, value)
        if learner is None:
            error = (filtered(drawn, batch, spec, value) - batch.target[..., 0]).square()
            losses = error[:, spec.window :]
            more = {STATIC: batch.target[:, spec.window :, 0].double().square().mean(dim=1)}
        else:
            device = device or torch.device("cpu")
            losses = stream_losses(learner, batch, spec, device, deadline)
            every = 1 if _carries(learner, spec) else spec.every
            more = {INTERVAL: torch.full((count,), float(every))}
        values = {"mse": losses.mean(dim=1), **more, **_around_switches(losses, batch, spec)}
        frames += [_rows(spec.name, level, metric, v) for metric, v in values.items()]
    return pd.concat(frames, ignore_index=True)


def stream_losses(
    learner: MetaLearner[Any],
    batch: StreamBatch,
    spec: StreamSpec,
    device: torch.device,
    deadline: float = float("inf"),
) -> Tensor:
    """Squared error of every scored item [N, steps]; a prediction that is none has ``LARGEST``."""
    met = _online if _carries(learner, spec) else _refrozen
    parts = []
    for losses in met(learner, batch, spec, device):
        if time.monotonic() > deadline:
            raise TimeLimitError("the cell's time limit was used up on streams")
        parts.append(losses)
    return torch.cat(parts, dim=1)


def _carries(learner: MetaLearner[Any], spec: StreamSpec) -> bool:
    """Whether it goes on with its own state."""
    return spec.online and hasattr(learner, "observe")


def _refrozen(
    learner: MetaLearner[Any], batch: StreamBatch, spec: StreamSpec, device: torch.device
) -> Iterator[Tensor]:
    """Losses [N, n] of consecutive items: adaptations at different times are tasks side by side."""
    count, window, every = len(batch.x), spec.window, spec.every
    periods = max(1, ITEMS // (count * (window + every)))
    for first in range(0, spec.steps, periods * every):
        starts = torch.arange(first, min(first + periods * every, spec.steps), every)
        seen = starts[:, None] + torch.arange(window)
        asked = starts[:, None] + window + torch.arange(every)
        state = learner.adapt(to_device(_support(batch, seen), device))
        # The items to come are no batch: a transductive learner is asked one at a time.
        size = 1 if learner.card.transductive else every
        losses = [_losses(learner, state, batch, at, device) for at in asked.split(size, dim=1)]
        yield torch.cat(losses, dim=1).unflatten(0, (count, len(starts))).flatten(1)


def _online(
    learner: MetaLearner[Any], batch: StreamBatch, spec: StreamSpec, device: torch.device
) -> Iterator[Tensor]:
    """Losses [N, 1] of one item after another."""
    first = torch.arange(spec.window)[None]
    stream = begin(learner, to_device(_support(batch, first), device))
    for t in range(spec.window, spec.items):
        at = torch.tensor([[t]])
        yield _losses(learner, stream.state, batch, at, device)
        stream = observe(learner, stream, to_device(_support(batch, at), device))


def _support(batch: StreamBatch, at: Tensor) -> Support:
    """Items ``at`` [P, n] of every stream, as supports of N P tasks."""
    x, y = batch.x[:, at].flatten(0, 1), batch.y[:, at].flatten(0, 1)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    return Support(x, y, mask, torch.zeros(len(x), dtype=torch.int64))


def _losses(
    learner: MetaLearner[Any], state: Any, batch: StreamBatch, at: Tensor, device: torch.device
) -> Tensor:
    """Squared errors [N P, n] of items ``at`` [P, n]."""
    asked = _support(batch, at)
    query = Query(asked.x, asked.mask)
    prediction = learner.predict(state, to_device(query, device))
    target = batch.target[:, at].flatten(0, 1)
    return query_scores(prediction, Episodes(asked, query, target))


def _around_switches(losses: Tensor, batch: StreamBatch, spec: StreamSpec) -> dict[str, Tensor]:
    """Mean loss [N] at the last item before a switch, and at each age after one; NaN: none."""
    if not bool(batch.switch.any()):
        return {}
    since = batch.since[:, spec.window :]
    last = batch.switch[:, spec.window :].roll(-1, dims=1)
    last[:, -1] = False
    places = {BEFORE: last} | {f"{AFTER}{age}": since == age for age in AGES}
    return {
        metric: torch.where(where, losses, 0.0).sum(dim=1) / where.sum(dim=1)
        for metric, where in places.items()
        if bool(where.any())
    }


def _rows(condition: str, level: int, metric: str, values: Tensor) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "condition": condition,
            "level": level,
            "episode": range(len(values)),
            "metric": metric,
            "value": values.double().numpy(),
        }
    )
    return table.dropna()
