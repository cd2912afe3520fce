"""Every procedure keeps its word in worlds whose truth is known; what others use does not.

The numbers of replicates here are small; docs/statistics.md has the large ones.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "simulate" / "procedures.py"
sys.path.insert(0, str(PATH.parent))
SPEC = importlib.util.spec_from_file_location("simulate_procedures", PATH)
assert SPEC is not None
assert SPEC.loader is not None
simulate = importlib.util.module_from_spec(SPEC)
sys.modules["simulate_procedures"] = simulate
SPEC.loader.exec_module(simulate)
sys.path.remove(str(PATH.parent))

STUDIES = simulate.studies()


def title(study: simulate.Study) -> str:  # type: ignore[name-defined]
    return f"{study.procedure}, {study.world}, {study.seeds}"


@pytest.mark.parametrize("study", [s for s in STUDIES if s.offered], ids=title)
def test_it_keeps_its_word(study: simulate.Study) -> None:  # type: ignore[name-defined]
    row = simulate.run(study, 400)
    assert row.kept, f"{row.quantity} {row.rate:.3f} [{row.lower:.3f}, {row.upper:.3f}]"


@pytest.mark.parametrize(
    "study", [s for s in STUDIES if not s.offered and s.seeds not in (3, 5)], ids=title
)
def test_what_is_not_offered_would_break_it(study: simulate.Study) -> None:  # type: ignore[name-defined]
    assert not simulate.run(study, 4_000).kept


def test_the_page_shows_what_was_simulated_and_all_that_is_offered_held() -> None:
    rows = [simulate.Row(**row) for row in json.loads(simulate.RESULTS.read_text())]
    assert simulate.PAGE.read_text() == simulate.page(rows)
    assert [r.procedure for r in rows if r.offered and not r.kept] == []
    assert len(rows) == len(STUDIES)
