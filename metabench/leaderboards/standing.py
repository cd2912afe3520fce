"""The standing of every entrant over all suites of a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench.boards import Board, build_board
from metabench.boards.ranking import UNRANKED
from metabench.boards.scores import places, task_scores
from metabench.errors import MetabenchError
from metabench.leaderboards.private import Gap, counted, gap, require_committed, require_pool
from metabench.leaderboards.spec import BoardSpec
from metabench.records import IN_DISTRIBUTION, Environment, Record
from metabench.statistics import (
    Interval,
    Place,
    bootstrap_interval,
    iqm,
    mean_ranks,
    optimality_gap,
    rank_sets,
    t_interval,
)
from metabench.store import Results

Array = NDArray[np.float64]

ISOLATIONS = ("none", "process", "sandbox")
"""What stands between a learner and the scorer, the weakest first."""


@dataclass(frozen=True)
class Entry:
    """One learner over all tasks of the board; a task is a condition of a suite's source."""

    label: str
    family: str
    track: str
    """"inductive" or "transductive"."""
    provenance: str
    """"claimed" or "verified", of a submission with its isolation."""
    version: str
    seeds: int
    iqm: Interval | None
    """Interquartile mean of skill over tasks and seeds."""
    optimality_gap: Interval | None
    worst_suite: tuple[str, Interval] | None
    """The suite and source with the least mean skill over its shifted conditions, and that skill;
    the interval is its own, and does not know that it was picked."""
    flags: tuple[str, ...]
    """"suite/source: probe" of all that fired."""
    parameters: tuple[int, int] | None
    """Learnable numbers, the least and the most over suites; None where nobody counted."""
    tasks: float
    """Meta-training tasks, the mean over cells."""
    training_seconds: float
    """Of meta-training, the mean over cells."""
    evaluation_seconds: float
    devices: tuple[str, ...]
    metabench: tuple[str, ...]
    """Versions that made its records."""
    commits: tuple[str, ...]
    """Of metabench's repository, where it was known; "+" where files had been changed."""
    date: str
    """Of its latest record."""
    place: Place | None = None
    mean_rank: Interval | None = None
    """Rank over tasks in the results of one seed, among the entrants of the track."""
    gap: Gap | None = None
    """Public less private skill; None without records of both."""
    unranked: str | None = None
    """Why there is no place."""


@dataclass(frozen=True)
class Leaderboard:
    """Entries in the order of the board's column, tracks apart, the unranked last."""

    spec: BoardSpec
    entries: tuple[Entry, ...]
    tasks: tuple[str, ...]
    """What was averaged over: "suite/source condition"."""
    board: Board
    scores: pd.DataFrame
    """Skill: rows (label, seed), columns (suite, source, condition), as it counts."""
    salt: str = ""
    """Commitment of the private episodes that ranks come from; empty: public ones."""

    @property
    def anchors(self) -> dict[str, str]:
        """Section of the page by "suite/source", of the episodes that ranks come from."""
        return {
            f"{part.panel.suite}/{part.panel.source}": f"panel-{i}"
            for i, part in enumerate(self.board.panels, 1)
            if part.panel.salt == self.salt
        }


def selected(spec: BoardSpec, results: Results) -> Results:
    """The records that a board is about, with their episodes."""
    records = [
        r for r in results.records if r.key.suite in spec.suites and r.key.preset == spec.preset
    ]
    kept = {r.id for r in records}
    return Results(records, results.episodes[results.episodes["record"].isin(kept)])


def standing(spec: BoardSpec, results: Results) -> Leaderboard:
    """Compute every entry; from private episodes where there are any.

    Raises MetabenchError if a suite of the board has no records, or has them of several
    fingerprints, data or presets, which cannot stand in one table, or of private episodes that the
    board is not committed to.
    """
    results = selected(spec, results)
    require_committed(spec, results.records)
    board = build_board(results)
    require_pool(spec, [part.panel for part in board.panels])
    salts = sorted({part.panel.salt for part in board.panels}) or [""]
    views = {s: Board(tuple(p for p in board.panels if p.panel.salt == s)) for s in salts}
    for view in views.values():
        _one_panel_each(spec, view)
    salt = salts[-1]
    # One training that blew up is as bad as one that failed, and no worse.
    scores = counted(spec, task_scores(views[salt], spec.worst))
    shared = frozenset.intersection(*map(places, views.values()))
    tables = {
        salt: counted(spec, task_scores(view, spec.worst, shared)) for salt, view in views.items()
    }
    by_label: dict[str, list[Record]] = {}
    for record in sorted(results.records, key=lambda r: r.id):
        by_label.setdefault(record.key.learner, []).append(record)
    entries: list[Entry] = []
    for transductive in (False, True):
        track = {
            label: own
            for label, own in by_label.items()
            if own[0].learner.transductive == transductive and own[0].learner.family not in UNRANKED
        }
        placed = _track(spec, views[salt], salt, scores, track)
        if len(tables) > 1:
            placed = [replace(e, gap=gap(spec, e.label, tables[""], tables[salt])) for e in placed]
        entries += placed
    tasks = tuple("{}/{} {}".format(*column) for column in scores.columns)
    return Leaderboard(spec, tuple(entries), tasks, board, scores, salt)


def _one_panel_each(spec: BoardSpec, board: Board) -> None:
    for suite in spec.suites:
        found = [part for part in board.panels if part.panel.suite == suite]
        if not found:
            raise MetabenchError(f"board {spec.name}: no {spec.preset} records of suite {suite!r}")
        if any(part.ambiguous for part in found):
            raise MetabenchError(
                f"board {spec.name}: records of suite {suite!r} have several fingerprints or data; "
                "run its entrants again, or take the others out"
            )
        for part in found:
            variants = [
                r.label
                for r in part.rows
                if r.label not in {record.key.learner for record in part.panel.records}
            ]
            if variants:
                raise MetabenchError(
                    f"board {spec.name}: several variants of a learner on suite {suite!r} "
                    f"({', '.join(variants)}); a board has one of each name"
                )


def _track(
    spec: BoardSpec,
    board: Board,
    salt: str,
    scores: pd.DataFrame,
    track: dict[str, list[Record]],
) -> list[Entry]:
    whole: dict[str, Array] = {}
    reasons: dict[str, str] = {}
    known = set(scores.index.get_level_values("label"))
    for label, every in track.items():
        own = [r for r in every if r.key.salt == salt]
        if not own:
            reasons[label] = "no private episodes"
            continue
        table, reason = _complete(spec, scores, label, own, label in known)
        if reason is None:
            whole[label] = table
        else:
            reasons[label] = reason
    places: dict[str, Place] = {}
    ranks: dict[str, Interval] = {}
    if whole:
        seeds = min(len(table) for table in whole.values())
        per_seed = np.stack([iqm(table[:seeds, None, :]) for table in whole.values()])
        places = dict(zip(whole, rank_sets(per_seed), strict=True))
        each = np.stack([table[:seeds] for table in whole.values()])
        ranks = dict(zip(whole, mean_ranks(each), strict=True))
    entries = [
        replace(
            _entry(board, label, own, scores, whole.get(label)),
            place=places.get(label),
            mean_rank=ranks.get(label),
            unranked=reasons.get(label),
        )
        for label, own in track.items()
    ]
    return sorted(entries, key=lambda e: _order(spec, e))


def _complete(
    spec: BoardSpec, scores: pd.DataFrame, label: str, own: list[Record], known: bool
) -> tuple[Array, str | None]:
    """Scores [J, M] under the board's policy, and why the learner is unranked, if it is."""
    failed = [r for r in own if r.status != "ok"]
    nothing = np.empty((0, scores.shape[1]))
    seeds = sorted({r.key.seed for r in own})
    if (weakest := _isolation(own)) < ISOLATIONS.index(spec.isolation):
        return nothing, f"isolation {ISOLATIONS[weakest]}, the board asks for {spec.isolation}"
    if len(seeds) < spec.least_seeds:
        return nothing, f"{len(seeds)} seeds, the board asks for {spec.least_seeds}"
    if not known:
        return nothing, f"{failed[0].status} in every cell" if failed else "no identifiable cell"
    table = scores.loc[label].reindex(seeds)
    ran = {(r.key.suite, r.key.source) for r in own}
    absent = sorted({column[:2] for column in scores.columns} - ran)
    if absent:
        return nothing, f"not scored on {', '.join('/'.join(place) for place in absent)}"
    if failed and spec.failed == "unranked":
        return nothing, f"{failed[0].status} in {len(failed)} of {len(own)} cells"
    for record in failed:
        place = record.key.suite, record.key.source
        table.loc[record.key.seed, [c for c in table.columns if c[:2] == place]] = spec.worst
    values = table.to_numpy(np.float64)
    missing = int(np.isnan(values).any(axis=0).sum())
    return values, f"{missing} tasks lack a seed" if missing else None


def _isolation(own: list[Record]) -> int:
    """The weakest of a learner's records; shipped learners are part of the scorer."""
    given = [ISOLATIONS.index(r.isolation) for r in own if r.key.learner_digest]
    return min(given, default=len(ISOLATIONS) - 1)


def _provenance(own: list[Record]) -> str:
    if any(r.provenance == "claimed" for r in own):
        return "claimed"
    contained = any(r.key.learner_digest for r in own)
    return f"verified, {ISOLATIONS[_isolation(own)]}" if contained else "verified"


def _worst(table: pd.DataFrame) -> tuple[str, Interval] | None:
    """From skills by seed and task: the place with the least mean over its shifted conditions."""
    found: dict[str, Interval] = {}
    columns: list[tuple[str, ...]] = [tuple(map(str, c)) for c in table.columns.to_list()]
    for place in sorted({column[:2] for column in columns}):
        own = [c for c in columns if c[:2] == place]
        shifted = [c for c in own if c[2] != IN_DISTRIBUTION]
        values = table[shifted or own].dropna().mean(axis=1)
        if len(values):
            found["/".join(place)] = t_interval([float(v) for v in values])
    return min(found.items(), key=lambda item: item[1].mean) if found else None


def _entry(
    board: Board, label: str, own: list[Record], tasks: pd.DataFrame, scores: Array | None
) -> Entry:
    rows = [(part, row) for part in board.panels for row in part.rows if row.label == label]
    if scores is not None:
        worst = _worst(pd.DataFrame(scores, columns=tasks.columns))
    else:
        known = label in tasks.index.get_level_values("label")
        worst = _worst(tasks.loc[[label]]) if known else None
    first = own[0]
    sizes = [r.learner.parameters for r in own if r.learner.parameters is not None]
    # Of the name alone: the same records give the same bytes, whoever else is on the board.
    rng = np.random.default_rng(list(label.encode()))
    return Entry(
        label=label,
        family=first.learner.family,
        track="transductive" if first.learner.transductive else "inductive",
        provenance=_provenance(own),
        version=", ".join(sorted({r.key.learner_version for r in own})),
        seeds=len({r.key.seed for r in own}),
        iqm=None if scores is None else bootstrap_interval(scores, iqm, rng),
        optimality_gap=None if scores is None else bootstrap_interval(scores, optimality_gap, rng),
        worst_suite=worst,
        flags=tuple(
            f"{part.panel.suite}/{part.panel.source}: {flag}"
            for part, row in rows
            for flag in row.flags
        ),
        parameters=(min(sizes), max(sizes)) if sizes else None,
        tasks=float(np.mean([r.used.tasks for r in own])),
        training_seconds=float(np.mean([r.used.seconds for r in own])),
        evaluation_seconds=float(np.mean([r.evaluation_seconds for r in own])),
        devices=tuple(sorted({r.environment.device for r in own})),
        metabench=tuple(sorted({r.environment.metabench for r in own})),
        commits=tuple(sorted({c for r in own if (c := _commit(r.environment))})),
        date=max(r.created for r in own)[:10],
    )


def _commit(environment: Environment) -> str:
    return (environment.commit or "")[:12] + ("+" if environment.dirty else "")


def _order(spec: BoardSpec, entry: Entry) -> tuple[bool, float, str]:
    def key() -> float:
        if entry.iqm is None or entry.optimality_gap is None:
            return 0.0
        if spec.sort == "mean_rank":
            return 0.0 if entry.mean_rank is None else entry.mean_rank.mean
        if spec.sort == "optimality_gap":
            return entry.optimality_gap.mean
        if spec.sort == "worst_suite":
            return 0.0 if entry.worst_suite is None else -entry.worst_suite[1].mean
        return -entry.iqm.mean

    return entry.place is None, key(), entry.label
