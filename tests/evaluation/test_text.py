"""How numbers and foreign texts stand in pages."""

from __future__ import annotations

import numpy as np
import pytest
from markdown_it import MarkdownIt

from mmdc_tf.evaluation.text import between, fixed, markdown_cell, number, share


def test_numbers_as_text():
    assert [share(value) for value in (0.6724, 1, 0.0, None, np.nan)] == ["67.2", "100.0", "0.0", "–", "–"]
    assert [fixed(value) for value in (0.6724, -1, None, np.nan)] == ["0.672", "-1.000", "–", "–"]
    assert [number(value) for value in (1234, 0.67241, None, np.nan)] == ["1,234", "0.6724", "–", "–"]


def test_intervals_as_text():
    assert between((0.4812, 0.525)) == "(48.1 to 52.5)"
    assert between([0.4812, 0.525], fixed) == "(0.481 to 0.525)"
    assert between(None) == between((np.nan, 0.5)) == ""


@pytest.mark.parametrize("text", ["a|b", "<b>", "<40", "a < b & c", "&lt;", "`x`", "*x*", "[x](y)", r"a\|b", "a\nb"])
def test_a_text_stays_in_its_cell_and_shows_as_it_is(text):
    page = MarkdownIt().enable("table").parse(f"| h | h |\n|---|---|\n| {markdown_cell(text)} | end |\n")
    cells = [token for token in page if token.type == "inline"]
    assert len(cells) == 4
    shown = [child.content for child in cells[2].children]
    assert {child.type for child in cells[2].children} <= {"text", "text_special"}
    assert "".join(shown) == text.replace("\n", " ")
