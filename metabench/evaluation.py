"""Conditions x learner -> episode rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor

from metabench.conditions import intervene
from metabench.embeddings import Table, Tables
from metabench.episodes import Episodes, Prediction, Query, to_device
from metabench.errors import ContractError, DivergedError, TimeLimitError
from metabench.learners.contract import MetaLearner
from metabench.learners.embedding import embedded, embeds
from metabench.rng import Address
from metabench.suite import Point
from metabench.tasks import TaskDistribution, sample
from metabench.tasks.base import bounds, sample_indexed

ITEMS = 4096
"""Support and query items evaluated together, at most."""
VALUES = 2**18
"""Numbers in their inputs, at most: more would leave the cache of a CPU, and fill its memory."""
AUDITED = 4
"""Episodes on which a table of embeddings is compared with the learner itself, at most."""
TOLERANCE = 1e-3
"""Largest change, relative to the scale of the outputs, that batching may cause in a prediction."""

Progress = Callable[[int, int], None]
"""Called with (episodes done, episodes in all)."""


class Predictor(Protocol):
    """Episodes of a distribution -> predictions of their queries."""

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Predict every query."""
        ...


@dataclass(frozen=True)
class LearnerPredictor:
    """Adapts, then predicts; the learner is given the support and the query, never the labels."""

    learner: MetaLearner[Any]
    device: torch.device

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Adaptation happens before the learner is given a query."""
        state = self.learner.adapt(to_device(episodes.support, self.device))
        return self.learner.predict(state, to_device(episodes.query, self.device))

    def audit(self, episodes: Episodes) -> None:
        """Raise ContractError if a prediction depends on the other queries of its batch."""
        if self.learner.card.transductive:
            return
        state = self.learner.adapt(to_device(episodes.support, self.device))
        query = to_device(episodes.query, self.device)
        whole = self.learner.predict(state, query).output
        half = query.x.shape[1] // 2
        if half == 0:
            return
        parts = [(0, half), (half, query.x.shape[1])]
        split = [
            self.learner.predict(state, Query(query.x[:, a:b], query.mask[:, a:b])).output
            for a, b in parts
        ]
        if not same(whole, torch.cat(split, dim=1)):
            raise ContractError(
                "predictions change with the other queries of the batch, "
                "but the card does not say 'transductive'"
            )

    def audit_table(
        self, table: Table, distribution: TaskDistribution, indexed: Episodes, episodes: Episodes
    ) -> None:
        """Raise ContractError unless the table serves these episodes like the learner itself."""
        learner, query = table.learner, to_device(episodes.query, self.device)
        alone = embedded(learner, query)
        support = embedded(learner, to_device(episodes.support, self.device))
        output = learner.predict_embedded(learner.adapt_embedded(support), alone).output
        if not same(self(distribution, episodes).output, output):
            raise ContractError(
                "adapt_embedded and predict_embedded on the inputs' embeddings predict otherwise "
                "than adapt and predict"
            )
        if not same(table.look_up(indexed.query).x[query.mask], alone.x[query.mask]):
            raise ContractError("an embedding changes with the other items of the batch")


class OraclePredictor:
    """The Bayes predictor of the very distribution that is being evaluated."""

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """In closed form; raises ContractError where there is none."""
        output = distribution.oracle(episodes)
        if output is None:
            raise ContractError(f"{type(distribution).__name__} has no Bayes predictor")
        return Prediction(output)


def same(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Equal within the tolerance relative to the largest finite value; infinities must agree."""
    if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = a[a.isfinite()], b[b.isfinite()]
    if a.numel() == 0:
        return True
    return bool((a - b).abs().max() <= tolerance * a.abs().max().clamp_min(1e-6))


def require_valid(prediction: Prediction, episodes: Episodes) -> Tensor:
    """The output, if its shape and values fit: ContractError or DivergedError if not."""
    output = prediction.output
    tasks, queries = episodes.query.mask.shape
    regression = episodes.support.kind == "regression"
    least = episodes.support.y.shape[-1] if regression else episodes.support.max_way
    fits = output.ndim == 3 and output.shape[:2] == (tasks, queries)
    if not fits or output.shape[2] < least or (regression and output.shape[2] > least):
        last = f"D={least}" if regression else f"W>={least}"
        raise ContractError(
            f"predict returned shape {list(output.shape)}, expected [{tasks}, {queries}, {last}]"
        )
    output = output.detach().to("cpu", torch.float64)
    used = output[episodes.query.mask]
    if used.isnan().any() or (regression and used.isinf().any()):
        raise DivergedError("the learner predicted NaN or infinity")
    return output


def score(prediction: Prediction, episodes: Episodes) -> Tensor:
    """Accuracy or mean squared error of each episode [T], over its valid queries.

    Tied classes share the point, so that a constant prediction scores chance.
    """
    output = require_valid(prediction, episodes)
    mask = episodes.query.mask
    y = episodes.query_y.cpu()
    if episodes.support.kind == "regression":
        each = (output - y).square().mean(dim=-1)
    else:
        absent = torch.arange(output.shape[-1]) >= episodes.support.way.cpu()[:, None]
        present = ~absent[:, None].expand_as(output)
        best = output.masked_fill(~present, float("-inf")).amax(dim=-1, keepdim=True)
        tied = (output == best) & present
        each = tied.gather(-1, y[..., None]).squeeze(-1) / tied.sum(dim=-1)
    each = torch.where(mask, each.double(), 0.0)
    return each.sum(dim=1) / mask.sum(dim=1)


def episodes_of(point: Point, address: Address, indices: range) -> Episodes:
    """The episodes of a point, on the CPU: the same values whatever device evaluates them.

    Every condition has the same address, so conditions that leave the tasks alone share them.
    """
    episodes = sample(point.distribution, point.shape, address, indices)
    if point.intervention is None:
        return episodes
    return intervene(point.intervention, point.value, point.on, episodes, address, indices)


def indexed_episodes_of(point: Point, address: Address, indices: range) -> Episodes:
    """The same with catalogue indices as inputs."""
    return sample_indexed(point.distribution, point.shape, address, indices)


def chunks(point: Point, count: int, features: int | None = None) -> Iterator[range]:
    """Episode indices in batches of about ``ITEMS`` items or ``VALUES`` numbers.

    ``features`` is how many numbers an item has that is embedded already.
    """
    per_class = bounds(point.shape.shot)[1] + point.shape.query
    items = per_class * max(1, bounds(point.shape.way)[1])
    values = items * (features or math.prod(point.distribution.input_shape))
    size = max(1, min(64, ITEMS // items, VALUES // values))
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def table_for(
    predictor: LearnerPredictor, tables: Tables, point: Point, address: Address, count: int
) -> Table | None:
    """The table that serves a point, audited when it is new; None where images change."""
    if point.intervention is not None or not point.distribution.from_catalogue:
        return None
    table = tables.of(point.distribution)
    if table is not None and not table.met.any():
        first = next(chunks(point, count))[:AUDITED]
        indexed = indexed_episodes_of(point, address, first)
        images = episodes_of(point, address, first)
        predictor.audit_table(table, point.distribution, indexed, images)
    return table


def evaluate(
    predictor: Predictor,
    points: tuple[Point, ...],
    address: Address,
    count: int,
    metric: str,
    deadline: float = float("inf"),
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Rows (condition, level, episode, metric, value) of ``count`` episodes at every point."""
    frames = []
    done = 0
    tables: Tables | None = None
    if isinstance(predictor, LearnerPredictor):
        predictor.audit(episodes_of(points[0], address, next(chunks(points[0], count))))
        if embeds(predictor.learner):
            tables = Tables(predictor.learner, predictor.device, address)
    for point in points:
        values = []
        table: Table | None = None
        if tables is not None and isinstance(predictor, LearnerPredictor):
            table = table_for(predictor, tables, point, address, count)
        predict = predictor if table is None else table
        draw = episodes_of if table is None else indexed_episodes_of
        for indices in chunks(point, count, table.features if table else None):
            if time.monotonic() > deadline:
                raise TimeLimitError("the cell's time limit was used up in evaluation")
            episodes = draw(point, address, indices)
            try:
                values.append(score(predict(point.distribution, episodes), episodes))
            except (ContractError, DivergedError) as error:
                where = f"{point.condition} level {point.level}"
                raise type(error)(f"{error} ({where})") from error
            done += len(indices)
            if progress:
                progress(done, count * len(points))
        frames.append(
            pd.DataFrame(
                {
                    "condition": point.condition,
                    "level": point.level,
                    "episode": range(count),
                    "metric": metric,
                    "value": torch.cat(values).numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
