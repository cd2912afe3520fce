"""Many small losses: after how many commits does somebody notice?

    python benchmarks/simulate/gate_creep.py

Every commit loses the same little and is trained anew; seeds differ by SD 0.6 points. Each is held
against the commit before, as a baseline that moves with every pass has it, or against the first, a
baseline that stays. For contrast, a CUSUM of the differences from commit to commit (Page 1954, with
reference value 0.5 and threshold 4, on normal scores). Results go to ``gate_creep.json`` and from
there to docs/ci.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from gate import PAGE, SEED_SD
from numpy.typing import NDArray
from scipy import stats

from metabench.gate import Policy, decide

Array = NDArray[np.float64]

RESULTS = Path(__file__).parent / "gate_creep.json"
START, END = "<!-- simulated: benchmarks/simulate/gate_creep.py -->", "<!-- end of creep -->"
COMMITS, REPLICATES, SEEDS = 60, 1_000, 5
POLICY = Policy("block", 0.01, 0.01)
LOSSES = (0.0, 0.001, 0.002, 0.005)
REFERENCE, THRESHOLD = 0.5, 4.0
WAYS = ("moving", "fixed", "cusum")


def first_alarm(way: str, scores: Array) -> int | None:
    """The commit, from 1, of scores [commits + 1, seeds] that is blocked; None: none is."""
    total = 0.0
    for t in range(1, len(scores)):
        d = scores[t] - scores[0 if way == "fixed" else t - 1]
        if way == "cusum":
            score = d.mean() / d.std(ddof=1) * np.sqrt(len(d))
            z = float(stats.norm.ppf(stats.t.cdf(score, len(d) - 1)))
            total = max(0.0, total - z - REFERENCE)
            if total > THRESHOLD:
                return t
        elif decide(d, [d], POLICY).status == "regression":
            return t
    return None


def rows() -> list[dict[str, float | str]]:
    """One for every loss and way."""
    found: list[dict[str, float | str]] = []
    for loss in LOSSES:
        rng = np.random.default_rng([0, int(1e4 * loss)])
        worlds = rng.normal(0, SEED_SD, (REPLICATES, COMMITS + 1, SEEDS))
        worlds = worlds - loss * np.arange(COMMITS + 1)[:, None]
        for way in WAYS:
            alarms = [first_alarm(way, world) for world in worlds]
            known = [COMMITS + 1 if a is None else a for a in alarms]
            found.append(
                {
                    "loss": loss,
                    "way": way,
                    "alarmed": float(np.mean([a is not None for a in alarms])),
                    "median": float(np.median(known)),
                }
            )
            print(found[-1], flush=True)
    return found


def page(found: list[dict[str, float | str]]) -> str:
    """docs/ci.md with this table."""
    text = PAGE.read_text()
    before, after = text.split(START)[0], text.split(END)[1]
    titles = "baseline that moves | baseline that stays | *CUSUM*"
    lines = [f"| loss of every commit | {titles} |", "| ---: | ---: | ---: | ---: |"]
    for loss in LOSSES:
        own = {str(r["way"]): r for r in found if r["loss"] == loss}
        cells = [_cell(own[way], loss) for way in WAYS]
        lines.append(f"| {100 * loss:g} pp | {' | '.join(cells)} |")
    return f"{before}{START}\n\n" + "\n".join(lines) + f"\n\n{END}{after}"


def _cell(row: dict[str, float | str], loss: float) -> str:
    alarmed, median = float(row["alarmed"]), float(row["median"])
    if loss == 0:
        return f"{100 * alarmed:.0f} % ever blocked"
    if median > COMMITS:
        return f"{100 * alarmed:.0f} % by commit {COMMITS}"
    return f"commit {median:g}"


def main() -> None:
    """Run, and keep what came out."""
    found = rows()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
