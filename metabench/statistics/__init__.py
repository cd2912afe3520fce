"""Intervals and tests: pure functions of tables."""

from metabench.statistics.intervals import Interval, format_interval, number, t_interval

__all__ = ["Interval", "format_interval", "number", "t_interval"]
