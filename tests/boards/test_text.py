"""Text from strangers' records, made safe for where it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench.boards.text import field, markdown, plain


@given(st.text())
def test_a_terminal_gets_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()


@given(st.text())
def test_a_spreadsheet_gets_no_formula(text: str) -> None:
    assert field(text)[:1] not in ("=", "+", "-", "@", "\t", "\r")


@given(st.text())
def test_markdown_gets_no_tag_and_no_column(text: str) -> None:
    assert "<" not in markdown(text)
    assert "|" not in markdown(text).replace("\\|", "")


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\x07b", "a\nb", "a\u202eb", "a\x00 b"])
def test_control_characters_are_spaces(text: str) -> None:
    assert plain(text).startswith("a ")
