"""Renders the tables and the picture of docs/validity.md from what was measured.

    metabench validate --out docs/validity          # the matrix and the mechanisms
    python benchmarks/reproduce/neural_controls.py  # the neural pairs
    python benchmarks/reproduce/render_validity.py         # write the page

The prose stands in the page itself; what lies between ``<!-- name -->`` and ``<!-- /name -->`` is
replaced.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import exact
import pandas as pd
from neural_controls import CHECK, PAIRS
from scipy import stats

from metabench.reports.known_groups import listing, markdown, picture
from metabench.statistics import number
from metabench.validity import NOTHING

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RESULTS, PICTURE = DOCS / "validity.md", DOCS / "validity", DOCS / "images/known_groups.svg"


def load(name: str, folder: Path = RESULTS) -> tuple[pd.DataFrame, str]:
    """A table that ``metabench validate`` wrote, and its command."""
    data = json.loads((folder / f"{name}.json").read_bytes())
    return pd.DataFrame(data["rows"]).astype({"wanted": object, "accepted": object}), data[
        "command"
    ]


def sections(folder: Path = RESULTS) -> dict[str, str]:
    """What stands between the marks."""
    known, command = load("known_groups", folder)
    others, again = load("mechanisms", folder)
    nothing = others["group"] == NOTHING.name
    return {
        "matrix": markdown(known),
        "matrix-verdict": verdict(known, command),
        "firing": firing(known),
        "mechanisms": listing(others[~nothing]),
        "mechanisms-verdict": verdict(others[~nothing], again),
        "nothing": listing(others[nothing]),
        "nothing-verdict": verdict(others[nothing], again),
        "neural": neural(exact.load(CHECK.path)),
    }


def verdict(found: pd.DataFrame, command: str) -> str:
    """How many of the cells that were asked for are accepted."""
    asked = found["accepted"].dropna()
    return (
        f"{int(asked.sum())} of {len(asked)} cells with a demand are accepted. "
        f"Measured by `{command}`."
    )


def firing(found: pd.DataFrame) -> str:
    """Pairs for which nothing is asked and that are flagged all the same."""
    rows = found[found["wanted"].isna() & (found["flags"] > 0)]
    lines = ["| probe | flags also | replicates |", "| --- | --- | ---: |"]
    for row in rows.sort_values("rate", ascending=False, kind="stable").itertuples():
        lines.append(f"| {row.probe} | {row.label} | {row.flags}/{row.replicates} |")
    return "\n".join(lines)


def neural(outcomes: exact.Outcomes | None) -> str:
    """Each side of each pair: mean, one-sided bound over seeds, and what is flagged."""
    lines = [
        "| fault | learner | probe | value | bound | threshold | flagged | ought to be |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    if outcomes is None:
        return f"Not run: `{CHECK.command(CHECK.replicates)}`."
    rows = {(row.learner, row.setting): row for row in outcomes.rows}
    for pair in PAIRS:
        for side in pair.sides:
            row = rows[side.title, pair.fault]
            above = pair.flag == "above"
            bound = one_sided(row.mean, row.half_width, outcomes.replicates, above)
            flagged = bound > pair.threshold if above else bound < pair.threshold
            words = (
                pair.fault,
                side.title,
                pair.probe,
                number(row.mean),
                number(bound),
                f"{'>' if above else '<'} {pair.threshold:g}",
                "yes" if flagged else "no",
                "no" if side.healthy else "yes",
            )
            lines.append(f"| {' | '.join(words)} |")
    kept = outcomes.seconds
    time_taken = "time not kept" if kept is None else f"{kept / 60:.0f} minutes"
    run = f"`{outcomes.command}`, {outcomes.replicates} seeds, {time_taken}"
    return "\n".join([*lines, "", f"Measured by {run}, {outcomes.device}, {outcomes.date}."])


def one_sided(mean: float, half: float | None, seeds: int, above: bool) -> float:
    """The 95 % bound towards the threshold, from the half-width of the two-sided interval."""
    if half is None:
        return float("nan")
    width = half * stats.t.ppf(0.95, seeds - 1) / stats.t.ppf(0.975, seeds - 1)
    return float(mean - width if above else mean + width)


def rendered(text: str, parts: dict[str, str]) -> str:
    """The page with these parts between its marks; every mark must have one, and the reverse."""
    marks = set(re.findall(r"<!-- ([a-z-]+) -->", text))
    if marks != set(parts):
        raise ValueError(f"marks and parts differ: {sorted(marks ^ set(parts))}")
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{part}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Write the page and the picture."""
    PICTURE.write_text(picture(load("known_groups")[0]), encoding="utf-8")
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), sections()), encoding="utf-8")


if __name__ == "__main__":
    main()
