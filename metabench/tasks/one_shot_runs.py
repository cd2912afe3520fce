"""Lake's one-shot classification runs: 20 fixed tasks that people were tested on.

Lake, Salakhutdinov and Tenenbaum 2015 (Science 350, 1332-1338): each run has 20 characters of one
evaluation alphabet, drawn once by one person (support) and once by another (query). People err on
4.5 percent of the 400 trials.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.errors import MetabenchError
from metabench.rng import BlockDraws, Plan
from metabench.tasks.base import TASKS, Shape, TaskDistribution
from metabench.tasks.cache import data_root
from metabench.tasks.hub import read_rows, require_file
from metabench.tasks.omniglot import SIDE, shrink

FOLDER = "omniglot-one-shot-runs"
COLUMNS = ("image", "run", "role", "way_label")
RUNS, WAY = 20, 20

Role = Literal["support", "query"]
Scalar = TypeVar("Scalar", bound=np.generic)


def one_shot_runs() -> Episodes:
    """The 20 runs as 20-way 1-shot episodes with one query a class, images as in ``omniglot``.

    Items keep the order of the rows. Raises MetabenchError as ``drawings`` does.
    """

    def part(role: Role) -> tuple[Tensor, Tensor]:
        images, labels = drawings(role, shrink)
        x = torch.from_numpy(images).float().mul_(1 / 255)
        return x.unsqueeze(2), torch.from_numpy(labels)

    x, y = part("support")
    x_query, y_query = part("query")
    every = torch.ones(RUNS, WAY, dtype=torch.bool)
    support = Support(x, y, every, torch.full((RUNS,), WAY))
    return Episodes(support, Query(x_query, every.clone()), y_query)


@TASKS.register("one-shot-runs")
class OneShotRuns(TaskDistribution):
    """The 20 runs in a random order, and again; the classes of each get labels in a random order.

    One shape there is: 20-way, 1 shot, 1 query.
    """

    kind: ClassVar[Kind] = "classification"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "Lake's 20 one-shot runs, on which people were tested"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """As Omniglot's."""
        return (1, SIDE, SIDE)

    @property
    def largest_way(self) -> int:
        """That of a run."""
        return WAY

    def check_shape(self, shape: Shape) -> None:
        """The one shape that the runs have."""
        if shape != Shape(way=WAY, shot=1, query=1):
            raise MetabenchError(f"{FOLDER}: runs are {WAY}-way, 1 shot, 1 query; found {shape}")

    def prepare(self) -> dict[str, str]:
        """Read the file."""
        images = one_shot_runs()
        digest = hashlib.sha256(images.support.x.numpy().tobytes())
        digest.update(images.query.x.numpy().tobytes())
        return {FOLDER: digest.hexdigest()[:16]}

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Whole rounds of the runs, and labels."""
        rounds = -(-draws.size // RUNS)
        order = draws("run").permuted(np.tile(np.arange(RUNS), (rounds, 1)), axis=1)
        labels = np.tile(np.arange(WAY), (draws.size, 1))
        return {
            "run": order.ravel()[: draws.size],
            "label": draws("label").permuted(labels, axis=1),
        }

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The runs, with their labels exchanged."""
        run, label = (torch.from_numpy(np.asarray(plan[name])) for name in ("run", "label"))
        runs = _runs()
        support, query = runs.support, runs.query
        return Episodes(
            Support(
                support.x[run], label.gather(1, support.y[run]), support.mask[run], support.way[run]
            ),
            Query(query.x[run], query.mask[run]),
            label.gather(1, runs.query_y[run]),
        )


def _runs() -> Episodes:
    return _runs_of(data_root())


@lru_cache(maxsize=1)
def _runs_of(root: Path | None) -> Episodes:
    return one_shot_runs()


def drawings(
    role: Role, picture: Callable[[Any], NDArray[Scalar]]
) -> tuple[NDArray[Scalar], NDArray[np.int64]]:
    """Images [20, 20, H, W] of all runs, each made by ``picture``, and their labels [20, 20].

    Read from ``<data root>/omniglot-one-shot-runs/test.parquet``, columns image (ink 0 on white,
    105 x 105), run (1..20), role and way_label (0..19). Raises MetabenchError where the file is
    missing or is not 20 such runs.
    """
    root = data_root()
    if root is None:
        raise MetabenchError(
            f"{FOLDER}: not on the hub; set METABENCH_DATA or --data-root to a folder that holds "
            f"{FOLDER}/test.parquet"
        )
    path = root / FOLDER / "test.parquet"
    require_file(path, f"the columns {', '.join(COLUMNS)}")
    rows = read_rows(path, COLUMNS)
    run, roles, label = (np.array(rows[c]) for c in COLUMNS[1:])
    index = [np.flatnonzero((run == r + 1) & (roles == role)) for r in range(RUNS)]
    if any(sorted(label[i]) != list(range(WAY)) for i in index):
        raise MetabenchError(f"{path}: every run needs one {role} item of each of {WAY} labels")
    images = rows["image"]
    stacked = np.stack([np.stack([picture(images[int(j)]) for j in i]) for i in index])
    return stacked, label[np.stack(index)].astype(np.int64)
