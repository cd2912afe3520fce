"""The verdict of a panel in words, with the numbers of its leading pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from metabench.boards import PanelBoard
from metabench.boards.ranking import seed_scores
from metabench.boards.verdicts import verdict
from metabench.estimators import IDENTIFIABLE
from metabench.records import IN_DISTRIBUTION
from metabench.reports.typesetting import typeset
from metabench.statistics import Comparison, holm, paired


def headlines(part: PanelBoard) -> list[str]:
    """What the board says, and the difference of its first two learners that meta-learned."""
    ranked = [row for row in part.rows if row.place is not None and not row.transductive]
    leaders = [row.label for row in ranked if row.family != "baseline"]
    said = verdict(part)
    if len(leaders) < 2:
        return said
    pool = [row.label for row in ranked]
    elsewhere = seed_scores(part.panel, part.skills, pool).reindex(pool)
    home = part.skills
    home = home[(home["condition"] == IN_DISTRIBUTION) & (home["status"] == IDENTIFIABLE)]
    inside = home.pivot_table(index="label", columns="seed", values="skill").reindex(pool)
    a, b = leaders[:2]
    shifted = any(not c.diagnostic for c in part.panel.protocol.conditions)
    sentences = [_sentence(inside, a, b, "In distribution")]
    if shifted:
        sentences.insert(0, _sentence(elsewhere, a, b, "Out of distribution"))
    return [*said[:1], *(s for s in sentences if s), *said[1:]]


def _sentence(scores: pd.DataFrame, a: str, b: str, where: str) -> str | None:
    """``a`` beside ``b``, judged with the correction for all pairs of the pool (Holm)."""
    found: dict[tuple[str, str], Comparison] = {}
    for one, other in combinations(scores.index, 2):
        both = scores.loc[[one, other]].dropna(axis="columns").to_numpy(np.float64)
        if both.shape[1] > 1:
            found[one, other] = paired(both[0], both[1])
    adjusted = holm([np.nan if c.p is None else c.p for c in found.values()])
    for (pair, comparison), p in zip(found.items(), adjusted, strict=True):
        if set(pair) == {a, b}:
            return f"{where}, {_words(*pair, comparison, float(p), len(found))}."
    return None


def _words(one: str, other: str, found: Comparison, p: float, pairs: int) -> str:
    d = found.difference
    if d.low is None or d.high is None:
        return f"{one} and {other} cannot be told apart with one seed"
    span = f"[{_signed(d.low)}, {_signed(d.high)}]"
    judged = "paired over seeds" if pairs == 1 else f"paired over seeds, Holm over {pairs} pairs"
    match found.verdict(p=p):
        case "ahead":
            return f"{one} is ahead of {other} by {_signed(d.mean)} {span} of skill ({judged})"
        case "behind":
            return f"{one} is behind {other} by {_signed(d.mean)} {span} of skill ({judged})"
    seeds = f"with {d.seeds} seeds"
    if pairs > 1 and found.verdict() != "cannot separate":
        seeds += f" once all {pairs} pairs are asked about"
    difference = f"{_signed(d.mean)} {span} of skill ({judged})"
    return f"{one} and {other} cannot be told apart {seeds}: {difference}"


def _signed(value: float) -> str:
    return typeset(value) if value < 0 else f"+{typeset(value)}"
