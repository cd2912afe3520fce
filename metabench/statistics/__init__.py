"""Intervals and tests: pure functions of tables."""

from metabench.statistics.aggregate import (
    bootstrap_interval,
    crossed_interval,
    improvement_interval,
    iqm,
    mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from metabench.statistics.comparison import Comparison, benjamini_hochberg, holm, paired
from metabench.statistics.intervals import (
    Interval,
    format_interval,
    number,
    one_sided_p,
    t_interval,
)
from metabench.statistics.power import Components, components, detectable, seeds_needed
from metabench.statistics.ranks import Place, mean_ranks, rank_sets, set_of_best

__all__ = [
    "Comparison",
    "Components",
    "Interval",
    "Place",
    "benjamini_hochberg",
    "bootstrap_interval",
    "components",
    "crossed_interval",
    "detectable",
    "format_interval",
    "holm",
    "improvement_interval",
    "iqm",
    "mean",
    "mean_ranks",
    "number",
    "one_sided_p",
    "optimality_gap",
    "paired",
    "performance_profile",
    "probability_of_improvement",
    "rank_sets",
    "seeds_needed",
    "set_of_best",
    "t_interval",
]
