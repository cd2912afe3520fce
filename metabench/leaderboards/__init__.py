"""Leaderboards: a folder with a board.toml, records, and tables that are rebuilt from them."""

from metabench.leaderboards.files import build, verify
from metabench.leaderboards.history import moves
from metabench.leaderboards.releases import open_release, reveal
from metabench.leaderboards.spec import BoardSpec, load_spec
from metabench.leaderboards.standing import Entry, Leaderboard, standing
from metabench.leaderboards.submissions import Heard, submit, told

__all__ = [
    "BoardSpec",
    "Entry",
    "Heard",
    "Leaderboard",
    "build",
    "load_spec",
    "moves",
    "open_release",
    "reveal",
    "standing",
    "submit",
    "told",
    "verify",
]
