"""``metabench check``: does a learner keep the contract?

Each property is tried on synthetic episodes of known law, so that what must be chance is chance.
The learner meta-trains for a few steps only: what is checked is the contract, not the skill.
"""

from metabench.checking.check import CheckReport, Result, check_learner

__all__ = ["CheckReport", "Result", "check_learner"]
