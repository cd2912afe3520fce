"""Where episodes come from: function families, class pools, data sources."""

from metabench.tasks import clusters, glyphs, harmonics, mnist, omniglot, sinusoid
from metabench.tasks.base import TASKS, Shape, TaskDistribution, sample

__all__ = [
    "TASKS",
    "Shape",
    "TaskDistribution",
    "clusters",
    "glyphs",
    "harmonics",
    "mnist",
    "omniglot",
    "sample",
    "sinusoid",
]
