"""Renders docs/speed.md from results/<device>.json.

python benchmarks/peers/speed_page.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from measured import RESULTS, Conditions, Measured, Results
from overhead import GROWTH, SHARE
from timing import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "speed.md"
DEVICES = ("cpu", "cuda")
TITLES = {
    "W1": "W1: MAML on a regression task",
    "W2": "W2: MAML on a convolutional network",
    "W3": "W3: training a prototypical network",
    "W4": "W4: drawing episodes",
    "W5": "W5: evaluation",
}
NOTES = {
    "W1": "",
    "W2": "learn2learn normalises the queries of a task by their own statistics. The same work is "
    "`maml-transductive`; the inductive `maml` does one pass over the support set more. On two "
    "threads metabench runs two tasks side by side, with the same bits as on one. Of an eager step "
    "convolutions take a third (by torch's profiler, on one thread), pooling 7 %, and most of the "
    "rest is batch normalisation, a quarter of the step its double backward alone. Compiling fuses "
    "normalisation, ReLU and the copies around them, which convolutions bound; 2x2 pooling written "
    "as selections, for the compiler to fuse as well, made the step slower.",
    "W3": "metabench and learn2learn's example normalise the support and query of a step together, "
    "EasyFSL one after the other; its gradient is compared with metabench's parts called in that "
    "order. EasyFSL's distances are squared, as in the paper.",
    "W4": "Every side holds uint8 images in memory and draws in one process. Episodes are checked "
    "for shape, labels and repeated items. Metabench draws every item's place with a key of its "
    "own, so that a larger way or shot leaves the rest of an episode as it was; that is half of "
    "its time on uint8 images.",
    "W5": "The same drawn episodes on both sides, scored by accuracy. learn2learn adapts "
    "first-order. Of an evaluation of 1,000 episodes from a pool, metabench draws all and embeds "
    "each image it meets once, both timed; the peers, whose time an episode does not depend on "
    "how many there are, are given 50 drawn ones.",
}
INTRODUCTION = """\
# Speed

metabench beside the libraries that do the same work, measured in one process by turns. A ratio
above 1 says that metabench is faster; in brackets the quartiles over the rounds. *Difference* is
the largest difference of what both sides compute from the same weights and episodes, in float64,
relative to its largest entry. Rates are medians; a ratio is the median over rounds, each of which
times both sides one after the other, and says more than the rates where the machine was busy.

```sh
bash benchmarks/peers/install.sh .venv-peers
.venv-peers/bin/python benchmarks/peers/measure.py
```

`--threads 2` gives each side its better of one and two threads, `--tuned-allocator` keeps freed
memory in the process for both sides, `--device cuda --sweep` is for a GPU. This page is rendered
from `benchmarks/peers/results/` by `benchmarks/peers/speed_page.py`.
"""


def write_page() -> None:
    """Render the page from the files there are."""
    parts = [INTRODUCTION]
    for device in DEVICES:
        parts.append(f"## {device.upper()}\n")
        path = RESULTS / f"{device}.json"
        parts += section(Results.read(path)) if path.exists() else ["not run\n"]
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def section(results: Results) -> list[str]:
    """One device."""
    parts = []
    for name, title in TITLES.items():
        parts.append(f"### {title}\n")
        found = results.measured.get(name)
        if found is None:
            parts.append("not run\n")
            continue
        parts += [f"{NOTES[name]}\n"] if NOTES[name] else []
        parts += [table_of(found.rows), conditions(found.conditions)]
    return [
        *parts,
        *overhead(results.measured.get("overhead")),
        *sweep(results.measured.get("sweep")),
    ]


def table_of(rows: Sequence[Row]) -> str:
    """Peers beside metabench."""
    header = (
        "work",
        "peer",
        "its rate",
        "metabench",
        "its rate",
        "ratio",
        "same work",
        "difference",
    )
    return table(header, [cells(row) for row in rows])


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    difference = "—" if row.difference is None else f"{row.difference:.0e}"
    if not row.same:
        difference = f"**{difference}: not the same work**"
    ours = "—" if row.our_rate is None else f"{row.our_rate:,.4g} {row.unit}"
    if row.peer_rate is None or row.ratio is None or row.quartiles is None:
        return (row.work, row.peer, "not installed", row.ours, ours, "—", row.agreement, difference)
    low, high = row.quartiles
    theirs, mine = row.threads
    threads = f" ({theirs} and {mine} threads)" if (theirs, mine) != (1, 1) else ""
    first = row.first_call or 0.0
    compiled = f", first step {first:.1f} s" if "compiled" in row.ours else ""
    return (
        row.work,
        row.peer,
        f"{row.peer_rate:,.4g} {row.unit}",
        row.ours + compiled,
        ours,
        f"**{row.ratio:.2f}** [{low:.2f}, {high:.2f}]{threads}",
        row.agreement,
        difference,
    )


def overhead(found: Measured | None) -> list[str]:
    """What the harness itself costs."""
    parts = ["### Waiting for data, and memory\n"]
    if found is None:
        return [*parts, "not run\n"]
    shares = [
        (s.work, f"{s.step * 1e3:.3g} ms", f"{s.share:.1%}", told(s.share < SHARE))
        for s in found.shares
    ]
    peaks = [
        (
            m.learner,
            m.task,
            ", ".join(f"{n:,}: {mib:,.0f} MiB" for n, mib in m.peak.items()),
            f"{m.growth:+.1f} MiB",
            told(m.growth < GROWTH),
        )
        for m in found.memory
    ]
    return [
        *parts,
        f"Drawing episodes is to take less than {SHARE:.0%} of a meta-step:\n",
        table(("meta-training", "meta-step", "spent drawing", "kept"), shares),
        "Evaluating more episodes is not to need more memory, "
        f"within {GROWTH:g} MiB of peak resident memory:\n",
        table(("learner", "task", "peak by episodes", "growth", "kept"), peaks),
        conditions(found.conditions),
    ]


def sweep(found: Measured | None) -> list[str]:
    """Tasks a batch."""
    parts = ["### Tasks a batch\n"]
    if found is None:
        return [*parts, "not run\n"]
    uses = [
        (
            u.work,
            f"{u.tasks:,}",
            f"{u.step * 1e3:,.4g} ms",
            f"{u.tasks_per_second:,.4g}",
            f"{u.flops / 1e9:,.4g} ({u.flops_share:.1%})",
            f"{u.traffic / 1e9:,.4g} ({u.traffic_share:.1%})",
        )
        for u in found.uses
    ]
    header = ("work", "tasks", "step", "tasks/s", "GFLOP/s", "GB/s")
    return [
        *parts,
        "In brackets: of a large float32 matrix product and of a large copy, measured in the same "
        "run. Traffic counts what the operations of eager mode read and write.\n",
        table(header, uses),
        conditions(found.conditions),
    ]


def told(kept: bool) -> str:
    """In words."""
    return "yes" if kept else "**no**"


def conditions(c: Conditions) -> str:
    """Under the table."""
    peers = ", ".join(f"{name} {v or 'not installed'}" for name, v in c.peers.items())
    busy = "machine idle" if c.load.quiet else "machine **not idle**"
    average = ", ".join(f"{x:.2f}" for x in c.load.average)
    allocator = ", allocator tuned on both sides" if c.tuned_allocator else ""
    return (
        f"{c.date}, `{c.command}`: metabench {c.environment.metabench} "
        f"({(c.environment.commit or 'no commit')[:9]}), torch {c.environment.torch}, {peers}; "
        f"{c.environment.device}, {c.load.cores} cores{allocator}; {busy} (load {average}).\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


if __name__ == "__main__":
    write_page()
