"""Whether the probes tell apart what they are to tell apart."""

from metabench.validity.known_groups import (
    BROKEN,
    DESIGNATED,
    HEALTHY,
    KNOWN,
    Group,
    Judgements,
    judge,
    matrix,
    study,
)
from metabench.validity.mechanisms import MECHANISMS, NOTHING

__all__ = [
    "BROKEN",
    "DESIGNATED",
    "HEALTHY",
    "KNOWN",
    "MECHANISMS",
    "NOTHING",
    "Group",
    "Judgements",
    "judge",
    "matrix",
    "study",
]
