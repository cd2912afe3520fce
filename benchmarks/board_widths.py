"""Intervals of a leaderboard's IQM: seeds drawn whole, beside seeds drawn within each task.

    python benchmarks/board_widths.py leaderboards/glyphs-smoke

Prints by how much the second interval is narrower, for each learner and in the median. Of public
and of private episodes, each by itself.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

from metabench.boards import Board
from metabench.boards.scores import task_scores
from metabench.leaderboards.files import rebuilt
from metabench.statistics import bootstrap_interval, iqm


def ratios(folder: Path) -> dict[str, float]:
    """How many times wider, by learner."""
    made, _ = rebuilt(folder)
    found = {}
    for salt in sorted({part.panel.salt for part in made.board.panels}):
        view = Board(tuple(part for part in made.board.panels if part.panel.salt == salt))
        for label, table in task_scores(view, made.spec.worst).groupby("label"):
            scores = table.to_numpy(np.float64)
            if np.isnan(scores).any():
                continue
            rng = np.random.default_rng(0)
            whole = bootstrap_interval(scores, iqm, rng).half_width
            within = bootstrap_interval(scores, iqm, rng, apart=True).half_width
            if whole and within:
                found[f"{label}{', private' if salt else ''}"] = whole / within
    return found


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    found = ratios(parser.parse_args().folder)
    for name, ratio in sorted(found.items(), key=lambda item: -item[1]):
        print(f"{ratio:.2f}  {name}")
    print(f"median {statistics.median(found.values()):.2f}")


if __name__ == "__main__":
    main()
