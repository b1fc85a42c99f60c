"""What stands between two marks can be replaced, and nothing else is."""

from __future__ import annotations

import pytest

from errors import DataFormatError
from marks import split_at

BEGIN, END = "<!-- begin -->", "<!-- end -->"


def test_all_but_what_stands_between_the_marks_is_kept() -> None:
    before, after = split_at(f"# Title\n{BEGIN}\nold\n{END}\nrest\n", BEGIN, END)

    assert before == f"# Title\n{BEGIN}"
    assert after == f"{END}\nrest\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        BEGIN,
        END,
        f"{END} {BEGIN}",
        f"{BEGIN} {BEGIN} {END}",
        f"{BEGIN} {END} {END}",
        f"{END} {BEGIN} {END}",
    ],
)
def test_a_page_without_both_marks_once_and_in_order_is_refused(text: str) -> None:
    with pytest.raises(DataFormatError, match=r"README\.md has to hold the marks"):
        split_at(text, BEGIN, END, name="README.md")
