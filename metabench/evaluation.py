"""Conditions x learner -> episode rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from metabench.attacks import Attack
from metabench.conditions import intervene
from metabench.embeddings import Table, Tables
from metabench.episodes import Episodes
from metabench.errors import ContractError, DivergedError, TimeLimitError
from metabench.learners.embedding import embeds
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor, Predictor
from metabench.rng import Address
from metabench.scoring import LARGEST
from metabench.statistics.sequential import BettingInterval
from metabench.suite import Point
from metabench.tasks import sample
from metabench.tasks.base import bounds, sample_indexed

ITEMS = 4096
"""Support and query items evaluated together, at most."""
VALUES = 2**18
"""Numbers in their inputs, at most: more would leave the cache of a CPU, and fill its memory."""
AUDITED = 4
"""Episodes on which a table of embeddings is compared with the learner itself, at most."""
Progress = Callable[[int, int], None]
"""Called with (episodes done, episodes in all)."""


def episodes_of(point: Point, address: Address, indices: range) -> Episodes:
    """The episodes of a point, on the CPU: the same values whatever device evaluates them.

    Every condition has the same address, so conditions that leave the tasks alone share them.
    """
    episodes = sample(point.distribution, point.shape, point.address(address), indices)
    if point.intervention is None:
        return episodes
    return intervene(episodes, point.setting(address, indices))


def indexed_episodes_of(point: Point, address: Address, indices: range) -> Episodes:
    """The same with catalogue indices as inputs."""
    return sample_indexed(point.distribution, point.shape, point.address(address), indices)


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
    if (
        point.intervention is not None
        or point.inner is not None
        or point.attack is not None
        or not point.distribution.from_catalogue
    ):
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
    points: Sequence[Point],
    address: Address,
    count: int,
    measures: Measures,
    deadline: float = float("inf"),
    progress: Progress = lambda done, total: None,
    stop: float | None = None,
) -> pd.DataFrame:
    """Rows (condition, level, episode, metric, value) of ``count`` episodes at every point.

    A point that asks for an inner loop which the learner has not gets no rows. With ``stop`` a
    point has fewer where its accuracy is known well enough: its episodes end with the first after
    which the anytime-valid interval of its accuracy is that narrow. Raises DivergedError if no
    prediction at the first point is a number.
    """
    frames = []
    tables: Tables | None = None
    if isinstance(predictor, LearnerPredictor):
        predictor.audit(episodes_of(points[0], address, next(chunks(points[0], count))))
        if embeds(predictor.learner):
            tables = Tables(predictor.learner, predictor.device, address)
    for i, point in enumerate(points):
        table: Table | None = None
        if tables is not None and isinstance(predictor, LearnerPredictor):
            table = table_for(predictor, tables, point, address, count)
        here = predictor.at(point) if table is None else table
        draw = episodes_of if table is None else indexed_episodes_of
        values: dict[str, list[Tensor]] = {}
        known = BettingInterval()
        for indices in chunks(point, count, table.features if table else None):
            if time.monotonic() > deadline:
                raise TimeLimitError("the cell's time limit was used up in evaluation")
            if here is None:
                break
            taken = _taken(here, point, draw(point, address, indices), measures, address, indices)
            kept = len(indices)
            if stop is not None and measures.metric in taken:
                kept = known.until(stop, taken[measures.metric].double().numpy())
            for metric, numbers in taken.items():
                values.setdefault(metric, []).append(numbers[:kept])
            progress(count * i + indices.stop, count * len(points))
            if stop is not None and known.count and known.width <= stop:
                break
        progress(count * (i + 1), count * len(points))
        frames += [_rows(point, metric, torch.cat(parts)) for metric, parts in values.items()]
    rows = pd.concat(frames, ignore_index=True)
    first = rows["value"][rows["metric"] == measures.metric].iloc[:count]
    if measures.metric == "mse" and bool((first >= LARGEST).all()):
        raise DivergedError("no prediction was a number, or near one, in distribution")
    return rows


def _taken(
    predictor: Predictor,
    point: Point,
    episodes: Episodes,
    measures: Measures,
    address: Address,
    indices: range,
) -> Mapping[str, Tensor]:
    """Metric -> one number an episode [T], after the point's attack; errors say where."""
    if point.attack is not None:
        attack = Attack(point.attack, point.value, point.on)
        drawn = point.address(address)
        episodes = attack(predictor, point.distribution, episodes, drawn, indices)
    try:
        return measures.take(predictor, point, episodes, address, indices)
    except ContractError as error:
        raise ContractError(f"{error} ({point.condition} level {point.level})") from error


def _rows(point: Point, metric: str, values: Tensor) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": point.condition,
            "level": point.level,
            "episode": range(len(values)),
            "metric": metric,
            "value": values.numpy(),
        }
    )
