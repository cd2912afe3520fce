"""Leaderboards: a folder with a board.toml, records, and tables that are rebuilt from them."""

from metabench.leaderboards.files import build, verify
from metabench.leaderboards.history import moves
from metabench.leaderboards.spec import BoardSpec, load_spec
from metabench.leaderboards.standing import Entry, Leaderboard, standing

__all__ = ["BoardSpec", "Entry", "Leaderboard", "build", "load_spec", "moves", "standing", "verify"]
