"""A learner that its repository guards with metabench."""

from my_learner.smooth import Smooth

__all__ = ["Smooth"]
