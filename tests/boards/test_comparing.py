"""Two learners compared panel by panel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metabench.boards.comparing import between_runs, compare, comparisons
from metabench.errors import MetabenchError
from metabench.estimators import Panel
from metabench.records import IN_DISTRIBUTION
from tests.estimators.tables import panel_of, record_of, role, rows

SEEDS, EPISODES = range(5), 40


def panel(shift: float = 0.3, seeds: range = SEEDS) -> Panel:
    """``slow`` has 0.2 more error than ``fast`` in distribution, ``shift`` less under noise."""
    parts = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for condition in (IN_DISTRIBUTION, "my noise"):
            base = 1 + rng.normal(0, 0.5) + rng.normal(0, 0.3, EPISODES)
            worse = 0.2 if condition == IN_DISTRIBUTION else -shift
            own = base + worse + rng.normal(0, 0.05, EPISODES)
            parts += [
                rows("fast", condition, base, seed=seed),
                rows("slow", condition, own, seed=seed),
            ]
    records = [record_of(name, seed) for name in ("fast", "slow") for seed in seeds]
    conditions = [role("noise", 0.5, title="noise, SD")]
    return panel_of(*parts, conditions=conditions, records=records)


def test_a_lower_error_is_ahead_and_pairing_sees_what_the_seeds_spread_hides() -> None:
    one = compare(panel(), "fast", "slow")
    first, noise = one.cells
    assert (first.condition, first.verdict, noise.verdict) == (IN_DISTRIBUTION, "ahead", "behind")
    assert first.comparison.difference.mean == pytest.approx(0.2, abs=0.02)
    assert noise.comparison.difference.mean == pytest.approx(-0.3, abs=0.02)
    assert one.words().endswith("Elsewhere fast is behind under noise, SD 0.5.")
    assert compare(panel(), "slow", "fast").cells[0].verdict == "behind"


def test_the_parts_of_the_variance_are_those_of_paired_differences() -> None:
    parts = compare(panel(), "fast", "slow").cells[0].components
    assert parts is not None
    assert parts.episode == pytest.approx(0.05, rel=0.2)
    assert parts.seed < 0.02
    assert parts.episodes == EPISODES


def test_one_seed_separates_nothing() -> None:
    one = compare(panel(seeds=range(1)), "fast", "slow")
    assert {cell.verdict for cell in one.cells} == {"cannot separate"}
    assert "one seed" in one.words()
    assert one.cells[0].components is None


def test_only_episodes_that_both_have_are_compared() -> None:
    whole = panel()
    lost = (whole.rows["label"] == "slow") & (whole.rows["seed"] == 4)
    kept: pd.DataFrame = whole.rows[~lost]
    part = panel_of(kept, conditions=whole.protocol.conditions, records=whole.records)
    assert compare(part, "fast", "slow").cells[0].comparison.difference.seeds == 4


def test_a_run_compared_with_itself_differs_by_exactly_nothing() -> None:
    (one, other) = between_runs([panel()], [panel()])
    assert one.words().startswith("In distribution fast and fast of the second run are equal")
    assert [c.comparison.difference.mean for c in (*one.cells, *other.cells)] == [0.0] * 4


def test_mistakes_are_told() -> None:
    with pytest.raises(MetabenchError, match="Did you mean 'fast'"):
        list(comparisons([panel()], "fst", "slow"))
    with pytest.raises(MetabenchError, match="no suite of the same fingerprint"):
        list(between_runs([panel()], []))
