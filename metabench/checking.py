"""``metabench check``: does a learner keep the contract?

Each property is tried on small synthetic episodes of known law, so that what must be chance is
chance; the learner meta-trains for a few steps only. Every failure says precisely what broke.
"""

from __future__ import annotations
