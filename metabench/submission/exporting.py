"""Episodes as tables, without the labels of queries, for predictions made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from metabench.conditions import INTERVENTIONS
from metabench.episodes import Episodes
from metabench.errors import MetabenchError
from metabench.evaluation import chunks, episodes_of
from metabench.records import PROTOCOL
from metabench.rng import Address
from metabench.running.cell import addresses
from metabench.running.plan import Cell, plan
from metabench.salt import commitment
from metabench.store import write_file
from metabench.suite import Point, Suite

FILE = "episodes.json"
WHERE = ("source", "seed", "condition", "level", "episode")
"""What names an episode; its items are counted from 0."""

CARD = """---
pretty_name: Episodes of metabench without the labels of their queries
tags: [meta-learning, few-shot-learning, benchmark]
configs:
- config_name: support
  data_files: support.parquet
- config_name: query
  data_files: query.parquet
  default: true
---
# Episodes of {suite}, preset {preset}

{count} episodes. An episode is named by source, seed, condition, level and episode. Learn each from
its rows of `support` alone, and predict each of its rows of `query` by itself.

| column | meaning |
| --- | --- |
| item | number within the episode's support or query set |
| x | the input, flattened; its shape by source: {shapes} |
| y | support only: class 0 to way-1, or the list of target values |
| way | classes of the episode; 0 in regression |

A predictions file is Parquet: the five columns above, `item`, and `prediction`, a list of one score
a class (higher is likelier) or of the target values, for every row of `query` and for no other:

```console
metabench score predictions.parquet --episodes . --name my-learner --family metric --out run
```
"""


class Exported(BaseModel):
    """What was exported; kept beside the tables, and no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    fingerprint: str
    preset: str
    seeds: int = Field(ge=1)
    protocol: int = PROTOCOL
    salt: str = Field(default="", description="commitment of the secret; empty: public")
    shapes: dict[str, list[int]] = Field(description="of an input, by source")


@dataclass(frozen=True)
class Drawn:
    """The episodes of one cell that depend on no learner."""

    cell: Cell
    address: Address
    points: tuple[Point, ...]

    @property
    def count(self) -> int:
        """Episodes a point."""
        return self.cell.suite.get_preset(self.cell.key.preset).episodes

    def batches(self, point: Point) -> Iterator[tuple[range, Episodes]]:
        """Indices and episodes of a point, in order."""
        for indices in chunks(point, self.count):
            yield indices, episodes_of(point, self.address, indices)


def drawn_cells(suite: Suite, preset: str, seeds: int | None, secret: bytes | None) -> list[Drawn]:
    """Every source and seed, with the points that predictions can be made for in advance.

    Attacks, inner loops and drifting streams ask for the learner itself, and interventions with a
    known effect for its predictions before: they are left out.
    """
    committed = "" if secret is None else commitment(secret)
    names = [*suite.baselines, *(n for s in suite.sources_of(preset) for n in s.baselines)]
    if not names:
        raise MetabenchError(f"suite {suite.name} has no baseline to compare with")
    found: dict[tuple[str, int], Drawn] = {}
    for cell in plan(names[:1], [suite], preset, seeds, None, committed):
        where = cell.key.source, cell.key.seed
        if where not in found:
            address = addresses(cell, secret)[1]
            points = tuple(p for p in cell.source.points if _predictable(p, address))
            found[where] = Drawn(cell, address, points)
    return list(found.values())


def export_episodes(
    suite: Suite, preset: str, seeds: int | None, secret: bytes | None, out: Path
) -> list[Path]:
    """Write support.parquet, query.parquet, a card and episodes.json; their paths.

    Raises MetabenchError if the folder cannot be written to.
    """
    cells = drawn_cells(suite, preset, seeds, secret)
    shapes = {d.cell.key.source: list(d.cell.source.train.input_shape) for d in cells}
    paths = [out / "support.parquet", out / "query.parquet"]
    regression = cells[0].cell.source.train.kind == "regression"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            pq.ParquetWriter(paths[0], _schema(True, regression), compression="zstd") as support,
            pq.ParquetWriter(paths[1], _schema(False, regression), compression="zstd") as query,
        ):
            for drawn in cells:
                for point in drawn.points:
                    for indices, episodes in drawn.batches(point):
                        names = _names(drawn.cell, point)
                        support.write_table(_table(names, indices, episodes, support.schema, True))
                        query.write_table(_table(names, indices, episodes, query.schema, False))
    except OSError as error:
        raise MetabenchError(f"cannot write to {out}: {error.strerror}") from None
    key = cells[0].cell.key
    about = Exported(
        suite=key.suite,
        fingerprint=key.fingerprint,
        preset=preset,
        seeds=1 + max(d.cell.key.seed for d in cells),
        salt=key.salt,
        shapes=shapes,
    )
    count = sum(len(d.points) * d.count for d in cells)
    told = CARD.format(suite=key.suite, preset=preset, count=count, shapes=json.dumps(shapes))
    write_file(out / "README.md", told.encode())
    write_file(out / FILE, (about.model_dump_json(indent=2) + "\n").encode())
    return [*paths, out / "README.md", out / FILE]


def _predictable(point: Point, address: Address) -> bool:
    if point.attack is not None or point.inner is not None:
        return False
    if point.intervention is None:
        return True
    return not INTERVENTIONS.get(point.setting(address, range(1)).name).known


def _names(cell: Cell, point: Point) -> dict[str, Any]:
    return {
        "source": cell.key.source,
        "seed": cell.key.seed,
        "condition": point.condition,
        "level": point.level,
    }


def _schema(labelled: bool, regression: bool) -> pa.Schema:
    columns = [
        ("source", pa.string()),
        ("seed", pa.int64()),
        ("condition", pa.string()),
        ("level", pa.int64()),
        ("episode", pa.int64()),
        ("item", pa.int64()),
        ("way", pa.int64()),
        ("x", pa.list_(pa.float32())),
    ]
    if labelled:
        columns.append(("y", pa.list_(pa.float32()) if regression else pa.int64()))
    return pa.schema(columns)


def _table(
    names: dict[str, Any], indices: range, episodes: Episodes, schema: pa.Schema, labelled: bool
) -> pa.Table:
    part = episodes.support if labelled else episodes.query
    rows: dict[str, list[Any]] = {name: [] for name in schema.names}
    for t, episode in enumerate(indices):
        kept = part.mask[t]
        x = part.x[t][kept].flatten(1).numpy()
        rows["episode"] += [episode] * len(x)
        rows["item"] += range(len(x))
        rows["way"] += [int(episodes.support.way[t])] * len(x)
        rows["x"] += list(x)
        if labelled:
            rows["y"] += episodes.support.y[t][kept].tolist()
    for name, value in names.items():
        rows[name] = [value] * len(rows["x"])
    return pa.table(rows, schema=schema)
