"""The Ladder: public scores that cannot be climbed by feedback."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ladder:
    """What the public has been told of one entrant: the parameter-free Ladder of Blum and Hardt
    2015 (algorithm 2), on scores in [0, 1] of the same n episodes at every submission.

    A submission moves the public score only if it beats the best one so far by more than the
    standard error of their paired difference, and then to its mean rounded to 1 / n. Everything
    else hears the old score again, so that its answers say next to nothing of the episodes. The
    error of the public score then grows with the logarithm of the number of submissions, where a
    board that tells every score lets it grow with the square root.
    """

    public: float | None = None
    """The score told last; None before the first submission."""
    best: Array | None = None
    """Scores [n] of the submission behind it."""
    submissions: int = 0

    def submit(self, scores: Array) -> Ladder:
        """The ladder after one more submission; ``public`` is what its author is told.

        Raises ValueError where scores [n] leave [0, 1] or their number changes.
        """
        if not len(scores) or not (scores.min() >= 0 and scores.max() <= 1):
            raise ValueError("the Ladder needs scores within [0, 1]")
        count = self.submissions + 1
        told = round(float(scores.mean()) * len(scores)) / len(scores)
        if self.best is None or self.public is None:
            return Ladder(told, scores, count)
        if len(scores) != len(self.best):
            raise ValueError(f"the Ladder compares the same episodes: {len(self.best)} at first")
        step = float((scores - self.best).std(ddof=1)) / np.sqrt(len(scores))
        if float(scores.mean()) > float(self.best.mean()) + step:
            return Ladder(told, scores, count)
        return replace(self, submissions=count)
