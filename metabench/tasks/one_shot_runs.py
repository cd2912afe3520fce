"""Lake's one-shot classification runs: 20 fixed tasks that people were tested on.

Lake, Salakhutdinov and Tenenbaum 2015 (Science 350, 1332-1338): each run has 20 characters of one
evaluation alphabet, drawn once by one person (support) and once by another (query). People err on
4.5 percent of the 400 trials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.episodes import Episodes, Query, Support
from metabench.errors import MetabenchError
from metabench.tasks.cache import data_root
from metabench.tasks.hub import read_rows, require_file
from metabench.tasks.omniglot import shrink

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
