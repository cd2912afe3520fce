"""The page of a comparison."""

from __future__ import annotations

from metabench.boards.comparing import compare
from metabench.estimators import panels
from metabench.reports.comparison import Facet, comparison_page
from tests.factories import BASE, BAYES, Learner, constant, falling, make_results

EVIL = "<script>alert(1)</script>"


def page() -> str:
    made = make_results(
        [BASE, BAYES, Learner(EVIL, constant(0.8)), Learner("b", falling(0.8, 0.2))]
    )
    (panel,) = panels(made.records, made.episodes)
    return comparison_page([compare(panel, EVIL, "b")])


def test_the_verdict_comes_before_the_differences_and_names_are_text() -> None:
    made = page()
    assert made.index('id="verdict"') < made.index("<table")
    assert "Elsewhere &lt;script&gt;alert(1)&lt;/script&gt; is ahead under pushed up to" in made
    assert "<script>alert" not in made
    assert "ahead</span>" in made


def test_levels_of_a_condition_are_named_together() -> None:
    made = make_results([BASE, BAYES, Learner("a", constant(0.8)), Learner("b", falling(0.8, 0.4))])
    (panel,) = panels(made.records, made.episodes)
    one = compare(panel, "a", "b")
    assert "ahead under pushed up to (every level), flipped" in one.words()


def test_a_place_on_the_axis_stays_on_it() -> None:
    (panel,) = panels(*_records())
    facet = Facet(compare(panel, "ridge", "oracle"), 2.0)
    places = [facet.across(v) for v in (-9, -2, 0, 1, 9)]
    assert places == [0, 0, 50, 75, 100]


def _records():  # type: ignore[no-untyped-def]
    made = make_results([BASE, BAYES])
    return made.records, made.episodes
