"""The report: one self-contained file in which nothing from a record runs."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import metabench
from metabench.reports import build_report, write_report
from tests.demo import demo
from tests.factories import BASE, BAYES, Learner, constant, make_protocol, make_results

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.tags


@pytest.fixture(scope="module")
def page() -> str:
    return build_report(demo())


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    for tag, attributes in tags(page):
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "srcset", "href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/svg+xml", "#")), f"{tag} {name}={value[:60]}"
    assert len(page) < 5_000_000


def test_the_one_script_is_the_one_that_the_policy_names(page: str) -> None:
    assert [attributes for tag, attributes in tags(page) if tag == "script"] == [{}]
    script = page.split("<script>")[1].split("</script>", maxsplit=1)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (a["content"] for t, a in tags(page) if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def test_every_figure_has_words_and_a_dark_twin(page: str) -> None:
    images = [a for t, a in tags(page) if t == "img"]
    light = [a for a in images if a["class"] == "on-light"]
    dark = [a for a in images if a["class"] == "on-dark"]
    assert light
    assert [a["alt"] for a in light] == [a["alt"] for a in dark]
    assert all(a["alt"] for a in images)
    assert all(a["src"] != b["src"] for a, b in zip(light, dark, strict=True))


def test_it_shows_boards_protocol_failures_and_environment(page: str) -> None:
    for text in ("Protocol", "diverged", "fingerprint", "Skill against severity", "CVaR10", "AUS"):
        assert text.lower() in page.lower(), text


def test_names_errors_and_titles_from_records_are_escaped() -> None:
    evil = Learner(EVIL, constant(0.5), "other")
    broken = Learner("b" + EVIL, family="other", status="failed", error=EVIL)
    protocol = make_protocol(suite_title=EVIL, question=EVIL, source_title=EVIL, training=EVIL)
    made = build_report(make_results([BASE, BAYES, evil, broken], protocol=protocol, suite=EVIL))
    found = tags(made)
    assert [t for t, _ in found if t == "script"] == ["script"]
    assert not [a for _, a in found if any(name.startswith("on") for name in a)]
    assert "&lt;script&gt;" in made


def test_the_same_records_give_the_same_page(page: str) -> None:
    assert build_report(demo()) == page


def test_a_smoke_run_and_a_single_seed_are_called_what_they_are() -> None:
    smoke = build_report(make_results(seeds=1, preset="smoke"))
    assert "too small to conclude" in smoke
    assert "no interval" in smoke.lower()
    assert "too small to conclude" not in build_report(make_results())


def test_results_in_which_everything_failed_still_make_a_page() -> None:
    broken = Learner("b", family="other", status="failed", error="no luck")
    assert "no luck" in build_report(make_results([broken]))


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.html"
    write_report(make_results(), target)
    assert target.read_text(encoding="utf-8").rstrip().endswith("</html>")
    with pytest.raises(metabench.MetabenchError, match="cannot write"):
        write_report(make_results(), Path("/proc/nowhere/report.html"))
