"""Metric-based meta-learners."""
