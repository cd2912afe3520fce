"""Where episodes come from: function families, class pools, data sources."""

from metabench.tasks import glyphs, harmonics, mnist, omniglot, sinusoid
from metabench.tasks.base import TASKS, Shape, TaskDistribution, sample

__all__ = [
    "TASKS",
    "Shape",
    "TaskDistribution",
    "glyphs",
    "harmonics",
    "mnist",
    "omniglot",
    "sample",
    "sinusoid",
]
