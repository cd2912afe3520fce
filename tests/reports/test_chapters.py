"""The report as Markdown and as LaTeX: the same words, and no name means anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.boards.text import latex
from metabench.reports import write_report
from metabench.reports.chapters import as_latex, as_markdown, chapters
from tests.demo import demo
from tests.factories import BASE, BAYES, Learner, constant, make_results

EVIL = r"a_b & 50% $x$ #1 {c} ~^\input{/etc/passwd} |cell| <b>"


@pytest.fixture(scope="module")
def evil() -> list:  # type: ignore[type-arg]
    return chapters(make_results([BASE, BAYES, Learner(EVIL, constant(0.5)), Learner("漢")]))


def test_both_have_verdict_board_conditions_and_environment(tmp_path: Path) -> None:
    for format in ("markdown", "latex"):
        write_report(demo(), tmp_path / format, format)
        text = (tmp_path / format).read_text(encoding="utf-8")
        for words in (
            "All suites",
            "is ahead of all others",
            "worst condition",
            "not run on ood",
            "rotation",
            "Environment and budget",
            "torch 2.6.0",
        ):
            assert words in text, (format, words)


def test_every_row_of_a_latex_table_has_as_many_cells_as_its_columns(evil: list) -> None:  # type: ignore[type-arg]
    text = as_latex("T", evil)
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) > 3
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
    for opened in ("document", "tabular"):
        assert text.count(rf"\begin{{{opened}}}") == text.count(rf"\end{{{opened}}}")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == len(tables)
    assert r"\usepackage{booktabs" in text


def test_a_name_cannot_run_latex_or_leave_its_characters(evil: list) -> None:  # type: ignore[type-arg]
    text = as_latex("T", evil)
    assert r"\input" not in text
    assert r"a\_b \& 50\% \$x\$ \#1 \{c\}" in text
    assert "漢" not in text
    assert "U+6F22" in text


@given(st.text())
def test_latex_has_balanced_braces_and_only_letters_of_pdflatex(text: str) -> None:
    made = latex(text)
    bare = re.sub(r"\\[&%$#_{}]|\\\\", "", made)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(?<!\\)[&%#_]", made)
    assert all(c.isascii() or "À" <= c <= "ž" for c in made)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("-0.5 ± 0.1", r"$-$0.5 $\pm$ 0.1"),
        ("1-13", "1-13"),
        ("maml-5", "maml-5"),
        ("[1] *", "{[}1{]} {*}"),
        ("Müller—", "Müller--"),
    ],
)
def test_minus_signs_are_told_from_hyphens(text: str, made: str) -> None:
    assert latex(text) == made


def test_markdown_keeps_a_name_in_its_cell(evil: list) -> None:  # type: ignore[type-arg]
    text = as_markdown("T", evil)
    assert "<b>" not in text
    assert r"\|cell\|" in text
    heads = [line for line in text.splitlines() if line.startswith("| learner")]
    rows = [line for line in text.splitlines() if line.startswith(r"| a\_b")]
    assert len(rows) == len(heads) > 2
    for head, row in zip(heads, rows, strict=True):
        assert len(re.findall(r"(?<!\\)\|", row)) == head.count("|")
