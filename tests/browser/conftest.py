"""A headless Chromium that tells everything a page says, asks for or runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Route, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """Chromium's path. Where it is missing a test is skipped, and fails under CI."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"none of {', '.join(NAMES)} is installed")
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = program()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page, and what happened in it that should not have."""

    page: Page
    said: list[str] = field(default_factory=list)
    """Messages of the console, errors, dialogs."""
    asked: list[str] = field(default_factory=list)
    """Addresses other than the file's own and its data."""

    def column(self, table: str, title: str) -> list[str]:
        """The cells of a column, as they stand, in the rows that are shown."""
        return self.page.evaluate(
            """([selector, title]) => {
                const table = document.querySelector(selector);
                const heads = [...table.querySelectorAll("thead th")];
                const at = heads.findIndex((head) => head.textContent.startsWith(title));
                return [...table.querySelectorAll("tbody tr")]
                    .filter((row) => row.offsetParent && !row.classList.contains("track"))
                    .map((row) => row.cells[at].innerText.split("\\n")[0].trim());
            }""",
            [table, title],
        )

    def violations(self) -> list[str]:
        """What axe finds wrong, one line an element."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}"
            for rule in found
            for node in rule["nodes"]
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


@dataclass
class Visitor:
    """Opens files in pages of their own."""

    browser: Browser
    visits: list[Visit] = field(default_factory=list)

    def open(self, path: Path, scheme: str = "light", width: int = 1280) -> Visit:
        context = self.browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        visit = Visit(context.new_page())

        def route(route: Route) -> None:
            address = route.request.url
            if address == path.resolve().as_uri():
                route.continue_()
            else:
                visit.asked.append(address)
                route.abort()

        def heard(dialog: Dialog) -> None:
            visit.said.append(dialog.message)
            dialog.dismiss()

        visit.page.set_default_timeout(10_000)
        visit.page.route("**/*", route)
        visit.page.on("console", lambda message: visit.said.append(message.text))
        visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
        visit.page.on(
            "dialog", lambda dialog: (visit.said.append(dialog.message), dialog.dismiss())
        )
        visit.page.goto(path.resolve().as_uri())
        self.visits.append(visit)
        return visit


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Pages of a test; after it, none of them has said or asked for anything."""
    visitor = Visitor(browser)
    yield visitor
    for visit in visitor.visits:
        visit.page.context.close()
    assert [visit.said for visit in visitor.visits if visit.said] == []
    assert [visit.asked for visit in visitor.visits if visit.asked] == []
