"""Synthetic results of private episodes."""

from __future__ import annotations

from pathlib import Path

from metabench.store import Results, Store


def salted(results: Results, commitment: str) -> Results:
    """The same results as if their episodes had been drawn with a secret."""
    records, names = [], {}
    for record in results.records:
        key = record.key.model_copy(update={"salt": commitment})
        names[record.id] = key.id
        records.append(record.model_copy(update={"key": key, "id": key.id}))
    episodes = results.episodes.assign(record=results.episodes["record"].map(names))
    return Results(records, episodes)


def written(folder: Path, results: Results) -> None:
    """Put results into a folder."""
    store = Store(folder)
    store.open()
    for record in results.records:
        rows = results.episodes[results.episodes["record"] == record.id].drop(columns="record")
        store.write(record, rows if record.status == "ok" else None)
