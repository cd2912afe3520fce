"""Streams under drift: exact filters, and how learners are evaluated on them."""

from metabench.streams.evaluate import evaluate_streams
from metabench.streams.filters import kalman_gain, regime_filter, run_length_filter

__all__ = ["evaluate_streams", "kalman_gain", "regime_filter", "run_length_filter"]
