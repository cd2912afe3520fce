"""Synthetic results: records and episode rows of learners whose skill is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from metabench.estimators import levels_of
from metabench.records import (
    EPISODE_COLUMNS,
    IN_DISTRIBUTION,
    ORACLE,
    Budget,
    CellKey,
    Condition,
    Environment,
    LearnerInfo,
    Parameter,
    Protocol,
    Record,
    Status,
    Usage,
)
from metabench.store import Results

SkillAt = Callable[[str, int], float]
"""(condition, level) -> skill."""

RAMP = Condition(name="ramp", title="pushed up to", values=[1, 2, 3, 4, 5], unit="cm")
FLIP = Condition(name="flip", title="flipped", values=[])
ENVIRONMENT = Environment(
    metabench="0.1.0",
    python="3.11.7",
    torch="2.6.0",
    numpy="2.1.0",
    platform="Linux-x86_64",
    device="cpu",
    threads=1,
    commit="0123456789abcdef",
    dirty=False,
)


@dataclass(frozen=True)
class Learner:
    """A learner of chosen skill."""

    name: str
    skill: SkillAt = lambda condition, level: 0.5
    family: str = "metric"
    transductive: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    status: Status = "ok"
    error: str | None = None
    failed_seeds: Sequence[int] | None = None
    """Seeds with ``status``; None for all of them."""


def constant(skill: float) -> SkillAt:
    return lambda condition, level: skill


def falling(start: float, step: float) -> SkillAt:
    """``start`` in distribution and ``step`` less at every level."""
    return lambda condition, level: start - step * level


BASE = Learner("ridge", constant(0.0), "baseline")
BAYES = Learner(ORACLE, constant(1.0), ORACLE)


def make_protocol(**changes: object) -> Protocol:
    known: dict[str, object] = {
        "suite_title": "A toy suite",
        "suite_version": 1,
        "question": "Does skill survive a push?",
        "source_title": "Toys, 5-shot",
        "kind": "regression",
        "metric": "mse",
        "episode": "5 shot, 10 query",
        "training": "toys (size = (0.0, 1.0))",
        "baselines": ["ridge"],
        "oracle": "bayes",
        "ceiling": None,
        "floor": 0.05,
        "conditions": [RAMP, FLIP],
        "episodes": 20,
    }
    return Protocol.model_validate(known | changes)


def make_record(
    learner: Learner,
    seed: int = 0,
    *,
    protocol: Protocol | None = None,
    suite: str = "toy",
    source: str = "toys",
    preset: str = "standard",
    fingerprint: str = "0123456789abcdef",
    data: Mapping[str, str] | None = None,
    **changes: object,
) -> Record:
    trained = learner.family not in ("baseline", "control", ORACLE)
    key = CellKey(
        suite=suite,
        fingerprint=fingerprint,
        preset=preset,
        source=source,
        learner=learner.name,
        learner_version="1",
        learner_digest="",
        parameters=dict(learner.parameters),
        seed=seed,
        data=dict(data or {}),
    )
    failed = learner.failed_seeds is None or seed in learner.failed_seeds
    record = Record(
        id=key.id,
        key=key,
        status=learner.status if failed else "ok",
        error=learner.error if failed else None,
        learner=LearnerInfo(
            family=learner.family,
            transductive=learner.transductive,
            sequential=False,
            meta_trained=trained,
            citation="Somebody 2020. Something.",
        ),
        protocol=protocol or make_protocol(),
        budget=Budget(tasks=50_000, steps=2_000, seconds=300),
        used=Usage(tasks=32_000, examples=640_000, steps=2_000, seconds=42.5)
        if trained
        else Usage(),
        evaluation_seconds=1.5,
        training_log=_training_log(seed) if trained else [],
        environment=ENVIRONMENT,
        created="2026-01-01T00:00:00+00:00",
    )
    return record.model_copy(update=changes)


def make_rows(
    record: Record, learner: Learner, *, base: float, best: float, seed_sd: float, episode_sd: float
) -> pd.DataFrame:
    """Episode rows whose expected risk has the chosen skill between ``base`` and ``best``."""
    generator = np.random.default_rng([record.key.seed, *record.id.encode()])
    # Noise shared by every learner of a seed: episodes are paired.
    shared = np.random.default_rng([record.key.seed, 7])
    protocol = record.protocol
    parts = []
    cells = [(IN_DISTRIBUTION, 0)]
    cells += [(c.name, i + 1) for c in protocol.conditions for i in range(levels_of(c))]
    offset = 0.0 if learner.family in ("baseline", ORACLE) else seed_sd * generator.normal()
    for condition, level in cells:
        skill = learner.skill(condition, level) + offset
        noise = shared.normal(size=protocol.episodes)
        risk = base - skill * (base - best) + episode_sd * (noise - noise.mean())
        parts.append(
            pd.DataFrame(
                {
                    "learner": record.key.learner,
                    "suite": record.key.suite,
                    "source": record.key.source,
                    "seed": record.key.seed,
                    "checkpoint": 2_000,
                    "condition": condition,
                    "level": level,
                    "episode": np.arange(protocol.episodes),
                    "metric": protocol.metric,
                    "value": 1 - risk if protocol.metric == "accuracy" else risk,
                }
            )
        )
    return pd.concat(parts, ignore_index=True).loc[:, list(EPISODE_COLUMNS)]


def make_results(
    learners: Sequence[Learner] = (BASE, BAYES, Learner("maml", falling(0.8, 0.3), "gradient")),
    *,
    seeds: int = 3,
    base: float = 1.0,
    best: float = 0.0,
    seed_sd: float = 0.05,
    episode_sd: float = 0.1,
    protocol: Protocol | None = None,
    **where: object,
) -> Results:
    """One panel; ``where`` goes to make_record (suite, source, preset, fingerprint, data, ...)."""
    records, tables = [], []
    for learner in learners:
        for seed in range(seeds):
            record = make_record(learner, seed, protocol=protocol, **where)  # type: ignore[arg-type]
            if record.status == "ok":
                rows = make_rows(
                    record, learner, base=base, best=best, seed_sd=seed_sd, episode_sd=episode_sd
                )
                tables.append(rows.assign(record=record.id))
                record = record.model_copy(update={"rows": len(rows)})
            records.append(record)
    columns = [*EPISODE_COLUMNS, "record"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return Results(records, table)


def merge(*parts: Results) -> Results:
    """Several panels in one."""
    tables = [part.episodes for part in parts if len(part.episodes)]
    return Results(
        [record for part in parts for record in part.records],
        pd.concat(tables, ignore_index=True) if tables else parts[0].episodes,
    )


def _training_log(seed: int) -> list[tuple[int, float]]:
    steps = np.linspace(0, 2_000, 120, dtype=int)
    wiggle = 0.1 * np.random.default_rng(seed).normal(size=len(steps))
    return [
        (int(s), float(v))
        for s, v in zip(steps, np.exp(0.6 - steps / 700 + wiggle) + 0.1, strict=True)
    ]
