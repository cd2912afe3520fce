"""Scores of a learner's private episodes, in [0, 1] as the Ladder needs them."""

from __future__ import annotations

import pandas as pd

from metabench.errors import MetabenchError
from metabench.estimators import IDENTIFIABLE, Panel, panels, skill_table
from metabench.leaderboards.private import require_pool
from metabench.leaderboards.spec import BoardSpec
from metabench.records import IN_DISTRIBUTION
from metabench.store import Results

EPISODE = ["condition", "level", "seed", "episode"]


def episode_scores(spec: BoardSpec, secret: bytes, results: Results, learner: str) -> pd.DataFrame:
    """suite, source, condition, level, seed, episode, score in [0, 1]: the skill in an episode.

    (R_base - r) / (R_base - R_oracle), cut off at 0 and 1, where r is the risk of the episode and
    the other two are means over the episodes of its condition, level and seed.
    """
    found = panels(results.records, results.episodes)
    require_pool(spec, found)
    out = spec.private.left_out(secret)
    for suite in spec.suites:
        if suite not in {p.suite for p in found}:
            raise MetabenchError(f"board {spec.name}: the run has no private records of {suite!r}")
    tables = []
    for panel in found:
        own = [r for r in panel.records if r.key.learner == learner]
        place = f"{panel.suite}/{panel.source}"
        failed = [r for r in own if r.status != "ok"]
        seeds = {r.key.seed for r in own}
        if failed or len(seeds) < spec.least_seeds or len(seeds) < len(own):
            problem = f"{failed[0].status} in a cell" if failed else f"{len(seeds)} seeds"
            raise MetabenchError(
                f"board {spec.name}: {learner} on {place}: {problem}; it takes one finished cell "
                f"for each of {spec.least_seeds} seeds or more"
            )
        tables.append(_scores_of(panel, learner, {n for n in out if n.startswith(f"{place} ")}))
    return pd.concat(tables, ignore_index=True)


def _scores_of(panel: Panel, learner: str, out: set[str]) -> pd.DataFrame:
    skills = skill_table(panel)
    known = skills[(skills["label"] == learner) & (skills["status"] == IDENTIFIABLE)]
    worlds = [c.name for c in panel.protocol.conditions if not c.diagnostic]
    place = f"{panel.suite}/{panel.source}"
    counted = [c for c in (IN_DISTRIBUTION, *worlds) if f"{place} {c}" not in out]
    rows = panel.scored[(panel.scored["label"] == learner)]
    rows = rows[rows["condition"].isin(counted)]
    columns = [*EPISODE[:3], "base_risk", "oracle_risk"]
    table = rows[[*EPISODE, "risk"]].merge(known[columns], on=EPISODE[:3]).sort_values(EPISODE)
    score = (table["base_risk"] - table["risk"]) / (table["base_risk"] - table["oracle_risk"])
    table = table.assign(score=score.clip(0, 1), suite=panel.suite, source=panel.source)
    return table[["suite", "source", *EPISODE, "score"]]
