"""What a panel says, in words, before any table."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.boards.board import PanelBoard, Row
from metabench.boards.ranking import UNRANKED

MANY = 6
"""Names in a sentence; of more, the number is told."""


def verdict(board: PanelBoard) -> list[str]:
    """Sentences: who leads, for whom meta-learning pays, whom probes flag, who has no rank.

    Skill is what the table is ordered by: out of distribution, or in distribution for a suite
    without worlds to do well in. Nothing is said that intervals or simultaneous ranks do not bear.
    """
    rows = [r for r in board.rows if r.family not in UNRANKED and not r.transductive]
    learners = [r for r in rows if r.family != "baseline"]
    if not learners:
        return []
    sentences = [*_lead(rows), *_pays(learners)]
    flagged = [f"{r.label} by {_and(r.flags)}" for r in learners if r.flags]
    if flagged:
        sentences.append(f"Flagged: {'; '.join(flagged)}.")
    unranked = [f"{r.label} ({r.status})" for r in rows if r.place is None]
    if unranked:
        sentences.append(f"Without a rank: {_names(unranked)}.")
    return sentences


def _lead(rows: Sequence[Row]) -> list[str]:
    ranked = [r for r in rows if r.place is not None]
    if len(ranked) < 2:
        return []
    seeds = max(r.seeds for r in ranked)
    if seeds == 1:
        return ["One seed tells nobody apart."]
    best = [r.label for r in ranked if r.place is not None and r.place.low == 1]
    behind = [r.label for r in ranked if r.label not in best]
    if len(best) == 1:
        return [f"{best[0]} is ahead of all others ({seeds} seeds)."]
    if not behind:
        return [f"With {seeds} seeds nobody can be told apart from everybody else."]
    verb = "is" if len(behind) == 1 else "are"
    return [
        f"The best is among {_names(best)}: {seeds} seeds cannot tell which. "
        f"{_names(behind)} {verb} behind."
    ]


def _pays(learners: Sequence[Row]) -> list[str]:
    """Against skill 0, the best per-task baseline, by each learner's own interval."""
    pays, harms, open_ = [], [], []
    for row in learners:
        skill = row.ood_skill or row.skill
        if skill is None:
            continue
        if skill.low is not None and skill.low > 0:
            pays.append(row.label)
        elif skill.high is not None and skill.high < 0:
            harms.append(row.label)
        else:
            open_.append(row.label)
    parts = [
        f"pays for {_names(pays)}" if pays else "",
        f"does harm for {_names(harms)}" if harms else "",
        f"is undecided for {_names(open_)}" if open_ else "",
    ]
    said = [part for part in parts if part]
    if not said:
        return []
    return [f"Beside the best per-task baseline, meta-learning {'; '.join(said)}."]


def _names(labels: Sequence[str]) -> str:
    return _and(labels) if len(labels) <= MANY else f"{len(labels)} learners"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
