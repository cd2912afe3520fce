"""Predictions made elsewhere, scored as a learner's would be: their labels are drawn again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metabench.episodes import Episodes, Prediction
from metabench.errors import MetabenchError
from metabench.evaluation import evaluate
from metabench.learners import LEARNERS
from metabench.measures import Measures
from metabench.records import ORACLE, PROTOCOL, LearnerInfo, Record
from metabench.running.cell import Settings, identified, new_record
from metabench.running.environment import describe
from metabench.salt import commitment
from metabench.store import Store
from metabench.submission.exporting import FILE, WHERE, Drawn, Exported, drawn_cells
from metabench.suite import Point, Suite
from metabench.tasks import TaskDistribution

COLUMNS = (*WHERE, "item", "prediction")
Group = tuple[str, int, str, int]
"""Source, seed, condition and level."""


class About(BaseModel):
    """What is said of whoever predicted; nothing of it can be verified."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]{0,63}$")
    family: Literal["metric", "gradient", "memory", "transfer", "other"]
    version: str = Field(default="1", min_length=1, max_length=32)
    track: Literal["inductive", "transductive"] = "inductive"
    citation: str = ""


@dataclass
class Recorded:
    """Gives the predictions [n, L] of a point back, episode after episode."""

    outputs: list[NDArray[np.float64]]
    next: int = 0

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Of the next episodes, whatever they are."""
        regression = episodes.support.kind == "regression"
        width = episodes.support.y.shape[-1] if regression else episodes.support.max_way
        shape = (*episodes.query.mask.shape, width)
        output = torch.full(shape, 0.0 if regression else -np.inf, dtype=torch.float64)
        for t in range(shape[0]):
            found = torch.from_numpy(self.outputs[self.next + t])
            output[t, episodes.query.mask[t], : found.shape[1]] = found
        self.next += shape[0]
        return Prediction(output)

    def at(self, point: Point) -> Self:
        """Itself."""
        return self


@dataclass
class Book:
    """The predictions of one cell, by condition and level."""

    pages: dict[tuple[str, int], Recorded] = field(default_factory=dict)

    def __call__(self, distribution: TaskDistribution, episodes: Episodes) -> Prediction:
        """Only ``at`` a point."""
        raise NotImplementedError

    def at(self, point: Point) -> Recorded:
        """The predictions of that point."""
        return self.pages[point.condition, point.level]


def read_exported(folder: Path) -> Exported:
    """What ``metabench episodes export`` wrote; MetabenchError if the folder is none of its."""
    try:
        return Exported.model_validate_json((folder / FILE).read_bytes())
    except OSError as error:
        raise MetabenchError(f"{folder / FILE}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise MetabenchError(f"{folder / FILE}: not what was exported: {error}") from None


def score_predictions(
    path: Path, exported: Exported, suite: Suite, secret: bytes | None, about: About, store: Store
) -> list[Record]:
    """One record a source and seed, ``claimed``; MetabenchError naming the first wrong row."""
    if about.name == ORACLE or about.name in LEARNERS:
        raise MetabenchError(f"name: {about.name!r} is a shipped learner's; choose another")
    if suite.fingerprint != exported.fingerprint or exported.protocol != PROTOCOL:
        raise MetabenchError(f"the episodes are of another version of suite {suite.name}")
    if exported.salt != ("" if secret is None else commitment(secret)):
        needed = "the salt that they were exported with" if exported.salt else "no salt"
        raise MetabenchError(f"these episodes need {needed}")
    cells = drawn_cells(suite, exported.preset, exported.seeds, secret)
    groups = _read(path)
    wanted: set[Group] = {
        (d.cell.key.source, d.cell.key.seed, p.condition, p.level) for d in cells for p in d.points
    }
    if extra := sorted(groups.keys() - wanted):
        raise MetabenchError(f"{path}: {_place(extra[0])}: no such episodes were exported")
    books = [_book(drawn, groups, path) for drawn in cells]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    cpu = torch.device("cpu")
    settings = Settings(device="cpu", environment=describe(cpu), salt=secret)
    records = []
    with store.lock():
        for drawn, book in zip(cells, books, strict=True):
            records.append(_record(drawn, book, about, digest, settings, store))
    return records


def _record(
    drawn: Drawn, book: Book, about: About, digest: str, settings: Settings, store: Store
) -> Record:
    cell = drawn.cell
    source, preset = cell.source, cell.suite.get_preset(cell.key.preset)
    measures = Measures.of(source.metric, source.train, drawn.points)
    rows = evaluate(
        book, drawn.points, drawn.address, drawn.count, measures, stop=preset.stop
    ).assign(checkpoint=0)
    key = cell.key.model_copy(
        update={
            "learner": about.name,
            "learner_version": about.version,
            "learner_digest": digest,
            "parameters": {"predictions_only": True},
        }
    )
    info = LearnerInfo(
        family=about.family,
        transductive=about.track == "transductive",
        sequential=False,
        meta_trained=False,
        citation=about.citation,
    )
    made = new_record(cell, settings, "ok", None)
    record = made.model_copy(update={"id": key.id, "key": key, "learner": info})
    return store.write(record, identified(rows, cell).assign(learner=about.name))


def _read(path: Path) -> dict[Group, pd.DataFrame]:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise MetabenchError(f"{path}: not a readable Parquet file: {error}") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise MetabenchError(f"{path}: no column {missing[0]!r}; needed: {', '.join(COLUMNS)}")
    if unknown := [name for name in table if name not in COLUMNS]:
        raise MetabenchError(
            f"{path}: unknown column {unknown[0]!r}; allowed: {', '.join(COLUMNS)}"
        )
    for name in ("seed", "level", "episode", "item"):
        if not pd.api.types.is_integer_dtype(table[name]) or bool(table[name].isna().any()):
            raise MetabenchError(f"{path}: column {name!r} must hold integers")
    twice = table.duplicated([*WHERE, "item"])
    if bool(twice.any()):
        row = table[twice].iloc[0]
        raise MetabenchError(f"{path}: {_row(row)}: predicted twice")
    grouped: Any = table.groupby(list(WHERE[:-1]), sort=False)
    return {
        (str(s), int(n), str(c), int(v)): part.sort_values(["episode", "item"])
        for (s, n, c, v), part in grouped
    }


def _book(drawn: Drawn, groups: dict[Group, pd.DataFrame], path: Path) -> Book:
    book = Book()
    for point in drawn.points:
        where = (drawn.cell.key.source, drawn.cell.key.seed, point.condition, point.level)
        if where not in groups:
            raise MetabenchError(f"{path}: {_place(where)}: predictions are missing")
        outputs = list(_checked(groups[where], drawn, point, where, path))
        book.pages[point.condition, point.level] = Recorded(outputs)
    return book


def _checked(
    table: pd.DataFrame, drawn: Drawn, point: Point, where: Group, path: Path
) -> Iterator[NDArray[np.float64]]:
    """The outputs [Q, L] of every episode; exactly those that were exported."""
    by_episode: dict[Any, pd.DataFrame] = dict(list(table.groupby("episode", sort=False)))
    for indices, episodes in drawn.batches(point):
        regression = episodes.support.kind == "regression"
        for t, index in enumerate(indices):
            told = f"{path}: {_place(where)} episode {index}"
            part = by_episode.pop(index, None)
            if part is None:
                raise MetabenchError(f"{told}: predictions are missing")
            count = int(episodes.query.mask[t].sum())
            items = part["item"].tolist()
            if absent := set(range(count)).difference(items):
                raise MetabenchError(f"{told}: item {min(absent)} is missing")
            if extra := set(items).difference(range(count)):
                raise MetabenchError(f"{told}: item {max(extra)}: there are {count} queries")
            width = episodes.support.y.shape[-1] if regression else int(episodes.support.way[t])
            yield np.stack([_numbers(v, width, regression, told) for v in part["prediction"]])
    if by_episode:
        raise MetabenchError(
            f"{path}: {_place(where)}: {drawn.count} episodes were exported, "
            f"found episode {max(by_episode)}"
        )


def _numbers(value: Any, width: int, regression: bool, told: str) -> NDArray[np.float64]:
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise MetabenchError(f"{told}: a prediction is a list of numbers") from None
    if found.shape != (width,):
        what = "target values" if regression else "scores, one a class"
        size = found.size if found.ndim else "no list"
        raise MetabenchError(f"{told}: expected {width} {what}, found {size}")
    # A class may be ruled out.
    bad = ~np.isfinite(found) if regression else np.isnan(found) | (found == np.inf)
    if bool(bad.any()):
        raise MetabenchError(f"{told}: {found[bad][0]} is no prediction")
    return found


def _place(where: Group) -> str:
    return f"{where[0]}, seed {where[1]}, {where[2]} level {where[3]}"


def _row(row: Any) -> str:
    where = (row["source"], row["seed"], row["condition"], row["level"])
    return f"{_place(where)} episode {row['episode']} item {row['item']}"
