"""Intervals and tests: pure functions of tables."""

from metabench.statistics.intervals import Interval, t_interval

__all__ = ["Interval", "t_interval"]
