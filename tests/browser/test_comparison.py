"""A comparison's page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.boards.comparing import compare
from metabench.estimators import panels
from metabench.reports.comparison import comparison_page
from tests.browser.conftest import Visitor
from tests.factories import BASE, BAYES, Learner, constant, falling, make_results

SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    learners = [BASE, BAYES, Learner(SCRIPT, constant(0.8)), Learner(IMAGE, falling(0.7, 0.2))]
    made = make_results(learners)
    (panel,) = panels(made.records, made.episodes)
    path = tmp_path_factory.mktemp("compare") / "compare.html"
    path.write_text(comparison_page([compare(panel, SCRIPT, IMAGE)]), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_and_no_name_runs(
    visitor: Visitor, page: Path, scheme: str
) -> None:
    visit = visitor.open(page, scheme)
    assert visit.violations() == []
    assert visit.page.locator("#verdict").get_by_text(SCRIPT).first.is_visible()
    assert visit.page.locator("img[src=x]").count() == 0


def test_differences_sort_and_a_narrow_page_does_not_scroll_sideways(
    visitor: Visitor, page: Path
) -> None:
    visit = visitor.open(page, width=360)
    assert visit.overflow() == 0
    visit.page.get_by_role("button", name="Gained").click()
    cells = [float(c.replace("−", "-")) for c in visit.column("table", "Gained")]
    assert cells == sorted(cells, reverse=True)
    assert len(set(cells)) > 3
