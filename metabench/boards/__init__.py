"""Boards: what a group of records says about its learners."""

from metabench.boards.board import Board, DesignBoard, PanelBoard, Row, build_board
from metabench.boards.render import to_csv, to_markdown, to_terminal

__all__ = [
    "Board",
    "DesignBoard",
    "PanelBoard",
    "Row",
    "build_board",
    "to_csv",
    "to_markdown",
    "to_terminal",
]
