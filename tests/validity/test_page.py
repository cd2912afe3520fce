"""docs/validity.md says what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reproduce"
sys.path.insert(0, str(FOLDER))

import exact  # noqa: E402
import render_validity as page  # noqa: E402
from neural_controls import CHECK, PAIRS  # noqa: E402

from metabench.validity import KNOWN, MECHANISMS, NOTHING  # noqa: E402


def test_the_page_is_rendered_from_the_results() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text, page.sections()) == text, "python benchmarks/reproduce/" + (
        "render_validity.py"
    )


@pytest.mark.parametrize(
    ("name", "groups"),
    [("known_groups", (KNOWN,)), ("mechanisms", (*MECHANISMS, NOTHING))],
)
def test_the_results_are_of_the_controls_and_demands_of_today(
    name: str, groups: tuple[object, ...]
) -> None:
    found, _ = page.load(name)
    for group in groups:
        rows = found[found["group"] == group.name]  # type: ignore[attr-defined]
        wanted = rows[rows["wanted"].map(lambda w: w is True)]
        designated = {
            (label, probe)
            for probe, labels in group.designated.items()  # type: ignore[attr-defined]
            for label in labels
        }
        assert set(zip(wanted["label"], wanted["probe"], strict=True)) == designated
        spared = rows[rows["wanted"].map(lambda w: w is False)]
        assert set(spared["label"]) == set(group.spared)  # type: ignore[attr-defined]


def test_a_mark_without_a_part_is_an_error() -> None:
    assert page.rendered("<!-- a -->\nold\n<!-- /a -->", {"a": "new"}) == (
        "<!-- a -->\nnew\n<!-- /a -->"
    )
    with pytest.raises(ValueError, match="'b'"):
        page.rendered("<!-- a -->\n<!-- /a -->", {"a": "x", "b": "y"})


def test_a_neural_side_is_flagged_by_its_one_sided_bound() -> None:
    """Known answer: half-width t(.975, 4) s, so the one-sided bound is t(.95, 4) s away."""
    assert page.one_sided(1.0, 2.776, 5, above=True) == pytest.approx(1 - 2.132, abs=1e-3)
    assert page.one_sided(1.0, 2.776, 5, above=False) == pytest.approx(1 + 2.132, abs=1e-3)
    rows = [
        exact.Outcome(learner=side.title, setting=pair.fault, mean=mean, half_width=0.01)
        for pair in PAIRS
        for side in pair.sides
        for mean in [pair.threshold + (0.1 if (pair.flag == "above") != side.healthy else -0.1)]
    ]
    outcomes = exact.Outcomes(
        rows=rows, replicates=5, command="c", seconds=60, date="d", device="cpu"
    )
    table = page.neural(outcomes)
    assert table.count("| yes | yes |") == sum(not s.healthy for p in PAIRS for s in p.sides)
    assert table.count("| no | no |") == sum(s.healthy for p in PAIRS for s in p.sides)
    assert CHECK.name in page.neural(None)


def test_only_pairs_of_which_nothing_is_asked_fire_besides() -> None:
    names = ["probe", "label", "flags", "replicates", "rate", "wanted"]
    table = [
        ("gap", "memorizer", 40, 40, 1.0, True),
        ("gap", "narrow-bayes", 2, 40, 0.05, None),
        ("sdi", "narrow-bayes", 0, 40, 0.0, None),
    ]
    text = page.firing(pd.DataFrame(table, columns=names).astype({"wanted": object}))
    assert text.splitlines()[2:] == ["| gap | narrow-bayes | 2/40 |"]
