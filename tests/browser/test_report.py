"""The report in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.records import Probe
from metabench.reports import write_report
from tests.browser.conftest import Visit, Visitor
from tests.demo import demo
from tests.factories import (
    BASE,
    BAYES,
    FLIP,
    RAMP,
    Learner,
    constant,
    falling,
    make_protocol,
    make_results,
    merge,
)

BOARD, OTHER, ALL = "#panel-1 table.board", "#panel-2 table.board", "#board table.board"
SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(demo(), path)
    return path


@pytest.fixture
def visit(visitor: Visitor, report: Path) -> Visit:
    return visitor.open(report)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of part, each small."""
    probe = Probe(estimator="ood-gap", threshold=0.1, flag="above")
    learners = [
        BASE,
        BAYES,
        Learner("robust", constant(0.8)),
        Learner("brittle", falling(0.9, 0.3), parameters={"steps": 5}),
        Learner("harmful", constant(-3.0)),
        Learner("narrow", falling(1.0, 0.4), "control"),
        Learner("together", constant(0.9), transductive=True),
        Learner("broken", status="failed", error="no luck"),
    ]
    short = RAMP.model_copy(update={"values": [1, 2]})
    protocol = make_protocol(probes=[probe], conditions=[short, FLIP])
    parts = [make_results(learners, source=name, protocol=protocol) for name in ("one", "two")]
    path = tmp_path_factory.mktemp("small") / "report.html"
    write_report(merge(*parts), path)
    return path


def number(text: str) -> float:
    return float(text.split("±", maxsplit=1)[0].replace("−", "-"))


def test_a_column_sorts_by_its_numbers_with_what_is_missing_last(visit: Visit) -> None:
    board = visit.page.locator(BOARD)
    before = visit.column(BOARD, "AUS")
    button = board.get_by_role("button", name="AUS")
    for direction in ("descending", "ascending"):
        button.click()
        head = board.locator("th[aria-sort]:not([aria-sort=none])")
        assert head.count() == 1
        assert head.get_attribute("aria-sort") == direction
        cells = visit.column(BOARD, "AUS")
        known = [number(c) for c in cells if c != "—"]
        assert known == sorted(known, reverse=direction == "descending")
        assert cells[len(known) :] == ["—"] * (len(cells) - len(known)) != []
        assert sorted(cells) == sorted(before)
        assert len(set(known)) > 1
    button.click()
    assert visit.column(BOARD, "AUS") == before


def test_rows_keep_their_cells_and_words_sort_as_words(visit: Visit) -> None:
    def rows() -> list[tuple[str, ...]]:
        titles = ("Learner", "MSE", "OOD skill", "Rank", "Worst")
        return list(zip(*(visit.column(BOARD, title) for title in titles), strict=True))

    before = rows()
    visit.page.locator(BOARD).get_by_role("button", name="Learner").click()
    assert rows() == sorted(before) != before


def test_what_is_better_low_is_sorted_from_below_first(visit: Visit) -> None:
    visit.page.locator(BOARD).get_by_role("button", name="MSE").click()
    cells = [number(c) for c in visit.column(BOARD, "MSE")]
    assert cells == sorted(cells)


def test_the_keyboard_sorts(visit: Visit) -> None:
    button = visit.page.locator(BOARD).get_by_role("button", name="CVaR10")
    button.focus()
    visit.page.keyboard.press("Enter")
    cells = [number(c) for c in visit.column(BOARD, "CVaR10") if c != "—"]
    assert cells == sorted(cells)


def test_tracks_are_not_mixed_by_sorting(visit: Visit) -> None:
    board = visit.page.locator(OTHER)
    board.get_by_role("button", name="Skill", exact=False).first.click()
    text = board.inner_text()
    assert text.index("Transductive track") < text.index("relation-transductive")
    assert text.index("protonet") < text.index("Transductive track")


def test_a_family_and_a_track_filter_every_table(visit: Visit) -> None:
    tools = visit.page.get_by_role("search")
    tools.get_by_label("Family").select_option("gradient")
    assert set(visit.column(BOARD, "Learner")) == {"maml[inner_steps=1]", "maml[inner_steps=5]"}
    assert "of" in tools.locator("output").inner_text()
    visible = visit.page.locator("[data-learner]:visible")
    assert visible.count() > 2
    families = visible.evaluate_all("rows => rows.map(row => row.dataset.family)")
    assert set(families) == {"gradient"}
    tools.get_by_label("Family").select_option("")
    tools.get_by_label("Track").select_option("transductive")
    assert visit.column(BOARD, "Learner") == []
    assert visit.page.locator(OTHER).get_by_text("relation-transductive").is_visible()


def test_searching_shows_what_has_the_words_and_emptying_shows_all(visit: Visit) -> None:
    everybody = visit.column(BOARD, "Learner")
    box = visit.page.get_by_role("searchbox", name="Search")
    box.fill("MANN")
    assert visit.column(BOARD, "Learner") == ["mann"]
    box.fill("nothing like it")
    assert visit.column(BOARD, "Learner") == []
    box.fill("")
    assert visit.column(BOARD, "Learner") == everybody


def test_names_that_are_markup_are_text_and_run_nothing(visitor: Visitor, tmp_path: Path) -> None:
    learners = [BASE, BAYES, Learner(SCRIPT, constant(0.5)), Learner(IMAGE, constant(0.2), IMAGE)]
    write_report(make_results(learners), tmp_path / "evil.html")
    visit = visitor.open(tmp_path / "evil.html")
    assert {SCRIPT, IMAGE} <= set(visit.column(ALL, "Learner"))
    visit.page.get_by_label("Family").select_option(IMAGE)
    assert visit.column(ALL, "Learner") == [IMAGE]
    assert visit.page.locator("img[src=x]").count() == 0


def test_the_board_of_all_suites_sorts_and_says_why_a_learner_has_no_aggregate(
    visit: Visit,
) -> None:
    cells = visit.column(ALL, "Skill, IQM")
    assert cells[:3] == sorted(cells[:3], key=number, reverse=True)
    assert set(cells[3:]) == {"—"}
    visit.page.locator(ALL).get_by_role("button", name="Mean rank").click()
    ranks = [number(c) for c in visit.column(ALL, "Mean rank") if c != "—"]
    assert ranks == sorted(ranks)
    assert visit.page.locator(ALL).get_by_text("not run on ood-glyphs").first.is_visible()


def test_a_link_to_folded_numbers_unfolds_them(visit: Visit) -> None:
    numbers = visit.page.locator("details:has(#panel-1-levels)")
    visit.page.locator("#panel-1").get_by_role("link", name="The numbers").click()
    numbers.get_by_text("0 = ridge").first.wait_for()


def test_a_learners_profile_names_its_suites_and_follows_the_filter(
    visitor: Visitor, everything: Path
) -> None:
    visit = visitor.open(everything)
    profile = visit.page.locator("details[data-learner=brittle]")
    profile.locator("summary").click()
    assert profile.locator("tr.track").first.inner_text().startswith("toy v1 / one")
    assert profile.get_by_text("steps = 5").is_visible()
    visit.page.get_by_role("searchbox").fill("harmful")
    assert not profile.is_visible()
    assert visit.page.locator("details[data-learner=harmful]").is_visible()


def test_no_script_but_the_pages_own_may_run(visit: Visit) -> None:
    visit.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'run'";
            document.body.append(script);
        }"""
    )
    assert visit.page.title() != "run"
    assert any("Content Security Policy" in text for text in visit.said)
    visit.said.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(visitor: Visitor, everything: Path, scheme: str) -> None:
    visit = visitor.open(everything, scheme)
    for text in ("Controls", "Mean ranks", "Performance profiles", "Transductive track"):
        assert visit.page.get_by_text(text).first.is_visible(), text
    for details in visit.page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    assert visit.violations() == []


def test_a_narrow_page_never_scrolls_sideways(visitor: Visitor, report: Path) -> None:
    visit = visitor.open(report, width=360)
    assert visit.overflow() == 0
    for details in visit.page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    assert visit.overflow() == 0
    assert visit.page.locator(".tools").is_visible()


def test_print_has_no_controls_and_every_figure(visitor: Visitor, report: Path) -> None:
    visit = visitor.open(report, "dark")
    visit.page.emulate_media(media="print")
    assert not visit.page.locator(".tools").is_visible()
    pictures = visit.page.locator("img:visible")
    assert pictures.count() > 5
    sizes = pictures.evaluate_all("all => all.map(i => [i.complete, i.naturalWidth])")
    assert all(complete and width > 0 for complete, width in sizes)
    shown = pictures.evaluate_all("all => all.map(image => image.className)")
    assert set(shown) == {"on-light"}, "paper is light whatever the screen is"
    assert visit.page.pdf().startswith(b"%PDF")


def test_the_page_is_whole_without_its_script(visitor: Visitor, report: Path) -> None:
    context = visitor.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert not page.locator(".tools").is_visible()
    assert page.locator(BOARD).get_by_text("mann").is_visible()
    assert page.locator("th button").count() == 0
    context.close()
