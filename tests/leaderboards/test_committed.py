"""The boards of this repository are what their records give."""

from __future__ import annotations

from pathlib import Path

from metabench.leaderboards import load_spec, verify

BOARDS = sorted(p.parent for p in Path(__file__).parents[2].glob("leaderboards/*/board.toml"))


def test_every_committed_board_rebuilds_byte_for_byte_from_its_records() -> None:
    drifted = {board.name: drift for board in BOARDS if (drift := verify(board))}
    assert not drifted


def test_no_committed_board_lets_out_the_secret_of_a_release_that_is_open() -> None:
    for board in BOARDS:
        private = load_spec(board).private
        assert not list(board.rglob("*.salt"))
        assert bool(private.secret) == bool(private.revealed)
