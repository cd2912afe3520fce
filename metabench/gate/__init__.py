"""The gate: tables in, a verdict out. Is a candidate worse than the baseline, or unsound?"""

from metabench.gate.checks import Check
from metabench.gate.decision import Decision, Policy, decide
from metabench.gate.spec import Config, GateSpec, load_config
from metabench.gate.verdict import Verdict, gate

__all__ = [
    "Check",
    "Config",
    "Decision",
    "GateSpec",
    "Policy",
    "Verdict",
    "decide",
    "gate",
    "load_config",
]
