"""The picture of effective robustness."""

from __future__ import annotations

from metabench.boards import PanelBoard, build_board
from metabench.reports import build_report
from metabench.reports.palette import looks
from metabench.reports.robustness import robustness_note, robustness_pictures, spots
from tests.factories import BASE, BAYES, Learner, falling, make_results

STARTS = (0.2, 0.4, 0.6, 0.8, 0.9)
ZOO = [Learner(f"n{i}", falling(start, 0.1)) for i, start in enumerate(STARTS)]
ROBUST = Learner("robust", falling(0.5, 0.0))


def panel(*learners: Learner) -> PanelBoard:
    (found,) = build_board(make_results([BASE, BAYES, *learners])).panels
    return found


def test_the_picture_says_who_is_above_the_trend() -> None:
    part = panel(*ZOO, ROBUST)
    assert {s.label for s in spots(part)} == {"robust", *(f"n{i}" for i in range(5))}
    board = build_board(make_results([BASE, BAYES, *ZOO, ROBUST]))
    (picture,) = robustness_pictures(part, looks(board))
    assert "robust" in picture.alt.split("above it")[1]
    assert picture.light.startswith("data:image/svg+xml")
    assert robustness_note(part) is None


def test_too_few_learners_are_told_and_nobody_is_told_where_there_is_none() -> None:
    part = panel(*ZOO[:3])
    assert robustness_pictures(part, {}) == []
    assert robustness_note(part) == "Effective robustness needs 5 learners; here are 3."
    assert robustness_note(panel()) is None


def test_the_page_shows_it_and_escapes_what_strangers_wrote() -> None:
    evil = Learner("<script>alert(1)</script>", falling(0.5, 0.0))
    page = build_report(make_results([BASE, BAYES, *ZOO, evil]))
    assert "<h3>Effective robustness</h3>" in page
    assert "<script>alert" not in page
    few = build_report(make_results([BASE, BAYES, *ZOO[:2]]))
    assert "Effective robustness needs 5 learners; here are 2." in few
