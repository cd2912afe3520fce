"""metabench: the evaluation and robustness benchmark for meta-learners."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from metabench.api import board, check, load_records, load_suite, report, run
    from metabench.episodes import Episodes, Prediction, Query, Support
    from metabench.errors import MetabenchError
    from metabench.learners.contract import (
        LEARNERS,
        LearnerCard,
        MetaLearner,
        StepLog,
        TaskInfo,
        TaskStream,
    )
    from metabench.tasks.base import TASKS, Shape, TaskDistribution

_HOMES = {
    "metabench.api": ("board", "check", "load_records", "load_suite", "report", "run"),
    "metabench.episodes": ("Episodes", "Prediction", "Query", "Support"),
    "metabench.errors": ("MetabenchError",),
    "metabench.learners.contract": (
        "LEARNERS",
        "LearnerCard",
        "MetaLearner",
        "StepLog",
        "TaskInfo",
        "TaskStream",
    ),
    "metabench.tasks.base": ("TASKS", "Shape", "TaskDistribution"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "LEARNERS",
    "TASKS",
    "Episodes",
    "LearnerCard",
    "MetaLearner",
    "MetabenchError",
    "Prediction",
    "Query",
    "Shape",
    "StepLog",
    "Support",
    "TaskDistribution",
    "TaskInfo",
    "TaskStream",
    "board",
    "check",
    "load_records",
    "load_suite",
    "report",
    "run",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `metabench --help` must not wait for it.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'metabench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)
