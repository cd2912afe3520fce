"""The specification of a suite: parse, validate, fingerprint."""

from metabench.suite.fields import dump_task, parse_task
from metabench.suite.load import load_suite, suite_names, suites_folder
from metabench.suite.source import ConditionSpec, Point, SourceSpec
from metabench.suite.spec import EVERY, Preset, Suite

__all__ = [
    "EVERY",
    "ConditionSpec",
    "Point",
    "Preset",
    "SourceSpec",
    "Suite",
    "dump_task",
    "load_suite",
    "parse_task",
    "suite_names",
    "suites_folder",
]
