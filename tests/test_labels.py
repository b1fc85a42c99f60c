"""Labels: what columns, words and names of files say that a picture shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import DataFormatError
from labels import find_columns, find_label, means_no_digit, read_digit, read_number


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("path,label", ("path", "label")),
        ("File, Digit ,writer", ("File", " Digit ")),
        ("\ufefffilename,class", ("filename", "class")),
        ("file,path", ("path", "")),
        ('"image","target"', ("image", "target")),
    ],
)
def test_columns_are_known_by_any_of_their_usual_names(
    tmp_path: Path, header: str, columns: tuple[str, str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(header + "\na.png,3\n", encoding="utf-8")

    assert find_columns(table) == columns


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "no column of paths among nothing"),
        (b"name,label\na.png,3\n", "no column of paths among 'name', 'label'; name one of them"),
        (b"path;label\na.png;3\n", "commas between the columns, not with ';'"),
        (b"path\tlabel\na.png\t3\n", "commas between the columns, not with '\\\\t'"),
        (b"n\xe9,label\n", "no column of paths among 'n"),
        ("path,label\n".encode("utf-16"), "save it again as CSV in UTF-8"),
    ],
)
def test_a_table_without_paths_is_refused_by_name(
    tmp_path: Path, content: bytes, hint: str
) -> None:
    (tmp_path / "table.csv").write_bytes(content)

    with pytest.raises(DataFormatError, match=hint) as caught:
        find_columns(tmp_path / "table.csv")

    assert "table.csv" in str(caught.value)
    assert str(caught.value).encode("utf-8")  # can be shown anywhere


def test_a_table_without_labels_is_refused_only_where_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,digits\na.png,3\n", encoding="utf-8")

    assert find_columns(tmp_path / "table.csv") == ("path", "")
    with pytest.raises(DataFormatError, match="no column of labels among 'path', 'digits'; name"):
        find_columns(tmp_path / "table.csv", labelled=True)


@pytest.mark.parametrize(
    ("name", "rule", "number", "label"),
    [
        ("scans/7/a.png", "auto", False, 7),
        ("scans\\7\\a.png", "auto", False, 7),
        ("scans/12/a.png", "auto", False, None),
        ("7/12.png", "names", False, None),
        ("a/7_12.png", "names", False, 7),
        ("a/0123_b.png", "names", True, "0123"),
        ("7/a.png", "auto", True, None),
        ("7/7_a.png", "none", False, None),
    ],
)
def test_a_label_is_found_in_the_name_that_the_rule_means(
    name: str, rule: str, number: bool, label: int | str | None
) -> None:
    assert find_label(name, rule, number=number) == label


@pytest.mark.parametrize(
    ("text", "digit", "number"),
    [
        ("7", 7, "7"),
        (" 7.0 ", 7, "7"),
        ("07", None, "07"),
        ("12", None, "12"),
        ("01/23", None, "01 23"),
        ("7.5", None, None),
        ("٣", None, None),
        ("seven", None, None),
        ("", None, None),
    ],
)
def test_a_label_is_read_as_a_digit_or_as_a_number(
    text: str, digit: int | None, number: str | None
) -> None:
    assert read_digit(text) == digit
    assert read_number(text) == number


def test_the_word_for_no_digit_is_known_in_any_case() -> None:
    assert means_no_digit(" None ")
    assert means_no_digit("Not a digit")
    assert not means_no_digit("")
    assert not means_no_digit("0")
