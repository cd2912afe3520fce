"""The modified Hausdorff distance on Lake's 20 one-shot runs, which his code ships as a baseline.

METABENCH_DATA=... python benchmarks/reproduce/hausdorff.py
"""

from __future__ import annotations

from common import Figure
from exact import Check, Measures, run

from metabench.domains.hausdorff import one_shot_errors

WHAT, SETTING = "modified Hausdorff distance", "20 runs"


def measure(replicate: int) -> Measures:
    """Error over the 400 trials, in percent."""
    return {(WHAT, SETTING): 100 * float(one_shot_errors().mean())}


CHECK = Check(
    name="hausdorff",
    title="Lake's one-shot runs, without learning",
    unit="error, %",
    notes=(
        "The nearest of the 20 characters by the modified Hausdorff distance of Dubuisson and Jain "
        "1994 between the inked pixels at 105 x 105, each set less its mean. Nothing is learned "
        "and nothing is random; it is the floor under the table above."
    ),
    figures=(
        Figure(
            WHAT,
            SETTING,
            value=38.8,
            source="comment in Lake's demo code [R]",
            gate=("at most", 38.76),
        ),
    ),
    measure=measure,
)

if __name__ == "__main__":
    run(CHECK)
