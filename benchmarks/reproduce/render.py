"""Renders docs/reproductions.md from what the scripts measured.

    python benchmarks/reproduce/render.py                   # write the page
    python benchmarks/reproduce/render.py --merge FILE ...  # first take in results from elsewhere

A file that is merged is named as the table it belongs to, ``omniglot.json``.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import exact
from common import RESULTS, SEEDS, Figure, Measured, Results, Table, minutes, rows_of

from metabench.statistics import t_interval

SCRIPTS = (
    "sinusoid_maml",
    "yin_sinusoid",
    "omniglot",
    "lake",
    "omniglot_within",
    "mann",
    "ntm_copy",
    "cifar_fs",
)
CHECKS = (
    "hausdorff",
    "task_diversity",
    "baldwin",
    "immune",
    "prices",
    "yin_flags",
    "overoptimisation",
    "neural_controls",
    "drift_constant",
)
PAGE = Path(__file__).parents[2] / "docs" / "reproductions.md"
HEAD = """# Reproductions

What the reference learners score beside the papers they come from. Every table has a script in
[`benchmarks/reproduce`](../benchmarks/reproduce); this page is made from its results by
`python benchmarks/reproduce/render.py`.

*Ours* is the mean over meta-seeds with Student's 95 % interval; each seed has its own
initialisation, training tasks and test tasks. *Iterations* are meta-training steps done of those
that a full run takes. A row with fewer is **CPU-size**: it shows where a short training stands, and
is no reproduction. A gate is what a full run over three seeds is expected to reach. *Not run* means
that nothing was measured; the command beside it would. Behind a source stands how it was read:
[R] in the source itself, [3P] in a third party's text that quotes it, [M] recalled and to be
verified. *Inductive* learners predict each query by itself, *transductive* ones see the batch.
Minutes are wall time of meta-training, measured beside other work on the same machine.
"""

KNOWN = """# Known answers

What is measured here has an answer that is derived ([D]), published, or computed by other code;
nothing but the flags of memorisation and over-optimisation is meta-trained. *Ours* is the mean over
replicates with Student's 95 % interval.
"""


def page(tables: list[Table], folder: Path = RESULTS) -> str:
    """The whole page."""
    parts = [section(table, Results.load(folder / f"{table.name}.json")) for table in tables]
    known = [
        "\n".join(exact.section(check, exact.load(folder / f"{check.name}.json")))
        for check in checks()
    ]
    return "\n".join([HEAD, *parts, KNOWN, *known])


def section(table: Table, results: Results) -> str:
    """One table with its notes and its runs."""
    runs: dict[tuple[str, ...], str] = {}
    lines = [
        f"## {table.title}",
        "",
        f"{table.unit[0].upper()}{table.unit[1:]}. Test: {table.test}. {table.notes}",
        "",
        "| learner | setting | track | published | source | ours, 95 % | iterations | gate | run |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | --- | ---: |",
    ]
    for figure in table.figures:
        rows = rows_of(figure, results)
        lines += [measured(table, figure, row, mark(runs, described(row))) for row in rows]
        if not figure.job:
            lines.append(f"| {named(figure)} | — | — | | |")
        elif not rows:
            job = table.job(figure.job)
            command = table.command(job, SEEDS, job.iterations)
            mark_of = mark(runs, (f"`{command}`", "not run"))
            lines.append(
                f"| {named(figure)} | not run | 0 / {job.iterations:,} "
                f"| {gate(figure, None)} | {mark_of} |"
            )
    lines += ["", "Runs:", ""]
    lines += [*(f"{number}. {', '.join(what)}" for what, number in runs.items()), ""]
    return "\n".join(lines)


def named(figure: Figure) -> str:
    """The cells that say what the figure is."""
    track = figure.track if figure.job else "—"
    return " | ".join(
        (figure.learner, figure.setting, track, figure.published, figure.source or "—")
    )


def measured(table: Table, figure: Figure, row: Measured, run: str) -> str:
    """One row of the table."""
    full = table.job(figure.job).iterations
    size = "" if row.iterations >= full else " CPU-size"
    interval = t_interval(row.seeds)
    diverged = f"; diverged tasks {', '.join(map(str, row.diverged_tasks))}"
    ours = interval.text(table.digits) + (diverged if any(row.diverged_tasks) else "")
    passed = figure.passes(interval.mean) if row.iterations >= full else None
    return (
        f"| {named(figure)} | {ours} | {row.iterations:,} / {full:,}{size} "
        f"| {gate(figure, passed)} | {run} |"
    )


def gate(figure: Figure, passed: bool | None) -> str:
    """What is expected, and whether it came."""
    if figure.gate is None:
        return ""
    side, bound = figure.gate
    verdict = {True: ": met", False: ": **missed**", None: " at full length"}[passed]
    return f"{side} {bound:g}{verdict}"


def described(row: Measured) -> tuple[str, ...]:
    """A run in words: command, seeds, time, device, date, commit."""
    seeds = f"{len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''}"
    commit = (f"commit {row.commit}",) if row.commit else ()
    return (
        f"`{row.command}`",
        seeds,
        minutes(row),
        row.device,
        f"torch {row.torch}",
        row.date,
        *commit,
    )


def mark(runs: dict[tuple[str, ...], str], what: tuple[str, ...]) -> str:
    """The number of a run; the same run has one number."""
    return runs.setdefault(what, str(len(runs) + 1))


def tables() -> list[Table]:
    """Every script's table."""
    return [importlib.import_module(name).TABLE for name in SCRIPTS]


def checks() -> list[exact.Check]:
    """Every script's known answers."""
    return [importlib.import_module(name).CHECK for name in CHECKS]


def main() -> None:
    """Merge what is given, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--merge", type=Path, nargs="*", default=[], help="results from elsewhere")
    for path in parser.parse_args().merge:
        results = Results.load(RESULTS / path.name)
        for row in Results.model_validate_json(path.read_bytes()).rows:
            results.merge(row)
        results.save(RESULTS / path.name)
    PAGE.write_text(page(tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
