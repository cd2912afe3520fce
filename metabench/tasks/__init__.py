"""Where episodes come from: function families, class pools, data sources."""

import metabench.tasks.amplitude_sinusoid
import metabench.tasks.antigens
import metabench.tasks.cifar_fs
import metabench.tasks.clusters
import metabench.tasks.cued
import metabench.tasks.demand
import metabench.tasks.glyphs
import metabench.tasks.harmonics
import metabench.tasks.intervals
import metabench.tasks.linear
import metabench.tasks.mnist
import metabench.tasks.omniglot
import metabench.tasks.one_shot_runs
import metabench.tasks.polynomial
import metabench.tasks.sawtooth
import metabench.tasks.sinusoid
import metabench.tasks.steps  # noqa: F401 - importing registers
from metabench.tasks.base import TASKS, Shape, TaskDistribution, sample

__all__ = ["TASKS", "Shape", "TaskDistribution", "sample"]
