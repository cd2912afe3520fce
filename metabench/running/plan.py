"""The cells that a run asks for: learner x suite x source x meta-seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from metabench.errors import MetabenchError
from metabench.learners.build import (
    LearnerClass,
    find_learner,
    require_contract,
    resolve_parameters,
    source_digest,
)
from metabench.learners.contract import MetaLearner
from metabench.records import ORACLE, CellKey, Knob, LearnerInfo, Parameter
from metabench.running.design import settings, varied
from metabench.running.fit import lacks, require_fit
from metabench.suite import EVERY, SourceSpec, Suite, dump_task, load_suite

LearnerChoice = str | type[MetaLearner[Any]]
Overrides = Mapping[str, Mapping[str, Parameter]]
"""Learner -> hyper-parameter -> value."""


@dataclass(frozen=True)
class Cell:
    """One unit of work. ``learner`` is None for the oracle."""

    key: CellKey
    suite: Suite
    source: SourceSpec
    learner: LearnerClass | None
    reference: str | None
    """How another process finds the learner; None for a class that was passed as an object."""
    knobs: tuple[Knob, ...] = ()
    """What the suite's design varies."""
    point: int | None = None
    """The setting of the design; None: the defaults."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes from a user's file cannot be pickled; the other process finds them anew.
        known = (self.key, self.suite, self.source, self.reference, self.knobs, self.point)
        return _restore, known

    @property
    def id(self) -> str:
        """The record's id."""
        return self.key.id

    @cached_property
    def training(self) -> str:
        """Names the meta-training by its content: cells that agree in it train once.

        A cell without meta-training shares with no other.
        """
        if not hasattr(self.learner, "meta_fit"):
            return self.id
        key, preset = self.key, self.suite.get_preset(self.key.preset)
        info = self.source.info
        content = {
            "learner": [key.learner, key.learner_version, key.learner_digest, key.parameters],
            "train": dump_task(self.source.train),
            "data": self.source.train.prepare(),
            "shape": info.shape.model_dump(),
            "max_way": info.max_way,
            "budget": [preset.budget.tasks, preset.budget.steps],
            "checkpoints": preset.checkpoints,
            "seed": key.seed,
            "protocol": key.protocol,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def title(self) -> str:
        """For progress and messages."""
        where = f"{self.key.learner} · {self.key.suite}/{self.key.source} · seed {self.key.seed}"
        return where if self.point is None else f"{where} · setting {self.point}"

    def info(self) -> LearnerInfo:
        """The card, as records keep it."""
        if self.learner is None:
            return LearnerInfo(
                family=ORACLE,
                transductive=False,
                sequential=False,
                meta_trained=False,
                citation="the Bayes predictor of each distribution, in closed form",
            )
        card = self.learner.card
        return LearnerInfo(
            family=card.family,
            transductive=card.transductive,
            sequential=card.sequential,
            meta_trained=hasattr(self.learner, "meta_fit"),
            citation=card.citation,
            knobs=list(self.knobs),
            point=self.point,
        )


def _restore(
    key: CellKey,
    suite: Suite,
    source: SourceSpec,
    reference: str | None,
    knobs: tuple[Knob, ...],
    point: int | None,
) -> Cell:
    learner = None if reference is None else find_learner(reference)
    return Cell(key, suite, source, learner, reference, knobs, point)


def plan(
    learners: Sequence[LearnerChoice],
    suites: Sequence[str | Path | Suite],
    preset: str,
    seeds: int | range | None = None,
    parameters: Overrides | None = None,
    salt: str = "",
) -> list[Cell]:
    """Every cell, baselines and oracle included; all that can be checked is checked here.

    ``parameters`` gives hyper-parameters by learner name; they overrule the preset's. A learner
    that cannot do a suite's kind of task, or has no knobs where a suite turns them, is an error if
    it can do none of the suites. ``seeds`` is how many meta-seeds, 0 and following, or which.
    ``salt`` is the commitment of the secret that episodes are drawn with.
    """
    if isinstance(seeds, int) and seeds < 1:
        raise MetabenchError(f"seeds: must be at least 1, found {seeds}")
    if not learners:
        raise MetabenchError("no learner was named")
    loaded = [s if isinstance(s, Suite) else load_suite(s) for s in suites]
    if not loaded:
        raise MetabenchError("no suite was named")
    chosen = [choose(learner) for learner in learners]
    overrides = dict(parameters or {})
    require_fit([learner for learner, _ in chosen], loaded, preset, overrides)
    cells: dict[str, Cell] = {}
    for suite in loaded:
        chosen_seeds = (
            seeds if isinstance(seeds, range) else range(seeds or suite.get_preset(preset).seeds)
        )
        for source in suite.sources_of(preset):
            able = [c for c in chosen if not lacks(c[0], suite, source, preset)]
            data = source.prepare()
            # Baselines run as declared, whatever the overrides say: they are what skill 0 means.
            scored: list[tuple[LearnerClass | None, str | None, Overrides]] = [
                *((*choose(name), {}) for name in [*suite.baselines, *source.baselines]),
                *((learner, reference, overrides) for learner, reference in able),
            ]
            if suite.ceiling_of(source) is None:
                scored.append((None, None, {}))
            for seed in chosen_seeds:
                at_seed = source.at_seed(seed)
                for learner_class, reference, changes in scored:
                    key = _key(suite, source, preset, seed, data, learner_class, changes, salt)
                    cell = Cell(key, suite, at_seed, learner_class, reference)
                    for one in _designed(cell, _fixed(suite, preset, learner_class, changes)):
                        cells.setdefault(one.id, one)
    return list(cells.values())


def _designed(cell: Cell, fixed: Mapping[str, Parameter]) -> Iterator[Cell]:
    """The cell at its defaults, then at every setting of its knobs that the preset asks for."""
    learner, kind = cell.learner, cell.source.train.kind
    points = cell.suite.get_preset(cell.key.preset).points
    if learner is None or not points:
        yield cell
        return
    knobs = varied(learner, kind, fixed)
    yield replace(cell, knobs=knobs)
    if not knobs:
        return
    for i, setting in enumerate(settings(learner, kind, fixed, points)):
        values = resolve_parameters(learner, {**fixed, **setting})
        key = cell.key.model_copy(update={"parameters": values})
        yield replace(cell, key=key, knobs=knobs, point=i)


def choose(learner: LearnerChoice) -> tuple[LearnerClass, str | None]:
    """The class, and the name by which another process finds it."""
    if isinstance(learner, str):
        return find_learner(learner), learner
    if not isinstance(learner, type):
        raise MetabenchError("a learner is given by name or as a class, not as an object")
    return require_contract(learner), None


def _key(
    suite: Suite,
    source: SourceSpec,
    preset: str,
    seed: int,
    data: dict[str, str],
    learner: LearnerClass | None,
    overrides: Overrides,
    salt: str,
) -> CellKey:
    """The identity of a cell; ``learner`` is None for the oracle."""
    name = ORACLE if learner is None else learner.card.name
    values: dict[str, Parameter] = {}
    if learner is not None:
        values = resolve_parameters(learner, _fixed(suite, preset, learner, overrides))
    return CellKey(
        suite=suite.name,
        fingerprint=suite.fingerprint,
        preset=preset,
        source=source.name,
        learner=name,
        learner_version="1" if learner is None else learner.card.version,
        learner_digest="" if learner is None else source_digest(learner),
        parameters=values,
        seed=seed,
        data=data,
        salt=salt,
    )


def _fixed(
    suite: Suite, preset: str, learner: LearnerClass | None, overrides: Overrides
) -> dict[str, Parameter]:
    """Hyper-parameters that are not left at their defaults, the suite's first."""
    if learner is None:
        return {}
    given, name = suite.get_preset(preset).parameters, learner.card.name
    accepted = resolve_parameters(learner, {})
    shared = {k: v for k, v in given.get(EVERY, {}).items() if k in accepted}
    return {**shared, **given.get(name, {}), **overrides.get(name, {})}


def select_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; asking for a GPU that is not there is an error."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MetabenchError(
            f"unknown device {name!r}. Allowed: auto, cpu, cuda, cuda:N."
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise MetabenchError(f"unknown device {name!r}. Allowed: auto, cpu, cuda, cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MetabenchError(
            f"device {name!r} was asked for, but torch sees "
            f"{torch.cuda.device_count()} CUDA devices"
        )
    return device


def by_cost(cells: Iterable[Cell]) -> list[Cell]:
    """Longest first, so that the workers finish together.

    Learners that meta-train lead, then those that build a network, then the rest.
    """

    def rank(cell: Cell) -> tuple[bool, bool, int]:
        learner = cell.learner or MetaLearner
        builds = getattr(learner, "setup", MetaLearner.setup) is not MetaLearner.setup
        return not hasattr(learner, "meta_fit"), not builds, cell.key.seed

    return sorted(cells, key=rank)
