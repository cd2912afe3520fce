"""What a table calls a learner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from metabench.records import Record

_ABSENT = object()


def labels(records: Sequence[Record]) -> dict[str, str]:
    """Record id -> learner, with whatever sets apart several variants of one learner.

    Two records share a label only if they differ in nothing but the meta-seed: ``maml`` alone, but
    ``maml[inner_steps=1]`` and ``maml[inner_steps=5]`` together. What a design varies does not set
    learners apart.
    """
    variants: dict[str, dict[str, dict[str, object]]] = {}
    for record in records:
        own = _variant(record)
        variants.setdefault(record.key.learner, {})[_canonical(own)] = own
    names: dict[tuple[str, str], str] = {}
    for learner, known in variants.items():
        for canonical, own in known.items():
            name = _name(learner, own, list(known.values()))
            # 1 and 1.0 look alike in a label; the variant's hash does not.
            if name in names.values():
                name = f"{name}#{hashlib.sha256(canonical.encode()).hexdigest()[:6]}"
            names[learner, canonical] = name
    return {r.id: names[r.key.learner, _canonical(_variant(r))] for r in records}


def _variant(record: Record) -> dict[str, object]:
    key, varied = record.key, {knob.field for knob in record.learner.knobs}
    kept = {k: v for k, v in key.parameters.items() if k not in varied}
    return {**kept, "version": key.learner_version, "source": key.learner_digest[:8]}


def _canonical(variant: dict[str, object]) -> str:
    return json.dumps(variant, sort_keys=True)


def _name(learner: str, own: dict[str, object], known: list[dict[str, object]]) -> str:
    differing = [k for k in own if any(other.get(k, _ABSENT) != own[k] for other in known)]
    inside = ", ".join(f"{k}={own[k]}" for k in differing)
    return f"{learner}[{inside}]" if inside else learner
