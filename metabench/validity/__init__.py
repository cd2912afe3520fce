"""Whether the probes tell apart what they are to tell apart."""

from metabench.validity.known_groups import (
    BROKEN,
    DESIGNATED,
    HEALTHY,
    Judgements,
    judge,
    known_groups,
    matrix,
)

__all__ = ["BROKEN", "DESIGNATED", "HEALTHY", "Judgements", "judge", "known_groups", "matrix"]
