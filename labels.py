"""What pictures are known to show: the columns of a table, the text in them, names of folders.

    path,label in a header -> the two columns        "7.0" -> 7        7/scan.png -> 7

Batches, evaluation and reviewed tables read labels alike.

    >>> read_digit(" 7.0"), read_number("01/23 "), find_label("7/scan.png", "auto")
    (7, '01 23', 7)
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from errors import DataFormatError

LABEL_RULES = ("auto", "names", "none")
NONE = "none"  # what a table calls a picture of no digit
NO_DIGIT_WORDS = (NONE, "no", "x", "-", "not a digit")  # that are understood as well
NO_DIGIT_FOLDERS = (NONE, "not_a_digit")  # the second is that of exported corrections
HEADER_BYTES = 2**16  # of a table's first line that are looked at for its encoding
OTHER_DELIMITERS = (";", "\t", "|")  # that spreadsheets and databases write as well
MOST_SHOWN = 200  # characters of a header, shown in a message

# Where several of these columns are there, the first counts.
PATH_COLUMNS = ("path", "file", "filename", "image", "picture")
LABEL_COLUMNS = ("label", "digit", "class", "target")

_LABEL_PATTERNS = {
    "auto": re.compile(r"(?:^|[/\\])([0-9])[/\\][^/\\]*$"),  # 7/scan.png
    "names": re.compile(r"(?:^|[/\\])([0-9])(?![0-9])[^/\\]*$"),  # 7_12.png, but not 712.png
}
_NUMBER_PATTERNS = {"names": re.compile(r"(?:^|[/\\])([0-9]+)[^/\\]*$")}  # 0123_a.png
_NUMBER = re.compile(r"[0-9]+(?:[\s/]+[0-9]+)*")  # "/" or space between lines
_NO_FRACTION = re.compile(r"\.0+$")  # pandas writes 7.0 for 7 as soon as one label is missing


def find_columns(path: Path, *, labelled: bool = False) -> tuple[str, str]:
    """Find the columns of a CSV that hold paths and labels, whatever the case of their names.

    Parameters
    ----------
    path : Path
    labelled : bool, default=False
        Whether there has to be a column of labels.

    Returns
    -------
    path_column, label_column : str
        Their names as the file has them; the second is empty if there are no labels.

    Raises
    ------
    DataFormatError
        If it lacks a column that has to be there, or is not CSV in UTF-8.
    OSError
        If it cannot be opened.
    """
    names = _read_header(path)
    known = {name.strip().lower(): name for name in names}
    path_column = next((known[name] for name in PATH_COLUMNS if name in known), "")
    label_column = next((known[name] for name in LABEL_COLUMNS if name in known), "")
    if not path_column or (labelled and not label_column):
        kind, choice = ("labels", LABEL_COLUMNS) if path_column else ("paths", PATH_COLUMNS)
        raise DataFormatError(
            f"{path}: no column of {kind} among {list_columns(names)}; "
            f"name one of them {' or '.join(choice)}"
        )
    return path_column, label_column


def list_columns(names: Sequence[str]) -> str:
    """List the columns of a table for a message, whatever bytes are in their names.

    >>> list_columns(["path;label"])
    "'path;label' (save it with commas between the columns, not with ';')"
    """
    listed = ", ".join(map(repr, names))[:MOST_SHOWN] or "nothing"
    wrong = next((each for each in OTHER_DELIMITERS if len(names) == 1 and each in names[0]), None)
    return (
        f"{listed} (save it with commas between the columns, not with {wrong!r})"
        if wrong
        else listed
    )


def _read_header(path: Path) -> list[str]:
    """Read the names of a table's columns."""
    with path.open("rb") as file:  # some versions of csv refuse a NUL, others read nonsense
        if b"\0" in file.readline(HEADER_BYTES):
            raise DataFormatError(f"{path}: not CSV in UTF-8; save it again as CSV in UTF-8")
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        try:
            return next(csv.reader(file), [])
        except csv.Error as error:
            raise DataFormatError(f"{path}: not CSV ({error})") from error


def find_label(path: str, rule: str, *, number: bool = False) -> int | str | None:
    """Tell what a picture shows by its name or its folder's.

    Parameters
    ----------
    path : str
        As the batch calls it.
    rule : {"auto", "names", "none"}
        See `batch_sources.open_source`.
    number : bool, default=False
        Whether it shows a number of several digits.

    Returns
    -------
    int, str or None
        A digit, or the digits of a number; None if the name says nothing.
    """
    pattern = (_NUMBER_PATTERNS if number else _LABEL_PATTERNS).get(rule)
    found = pattern.search(path) if pattern else None
    return read_label(found[1], number=number) if found else None


def read_label(text: str, *, number: bool = False) -> int | str | None:
    """Read a label: as `read_number` does if it is that of a number, else as `read_digit`."""
    return read_number(text) if number else read_digit(text)


def read_digit(text: str) -> int | None:
    """Turn "7" (or "7.0", as pandas and spreadsheets may write it) into 7, anything else into None.

    >>> read_digit(" 7.0"), read_digit("12"), read_digit("7.5")
    (7, None, None)
    """
    text = _NO_FRACTION.sub("", text.strip())
    return int(text) if len(text) == 1 and text in "0123456789" else None


def read_number(text: str) -> str | None:
    """Turn "01/23 " into "01 23", and "42.0" into "42"; what holds something else into None."""
    text = _NO_FRACTION.sub("", text.strip())
    return " ".join(re.findall("[0-9]+", text)) if _NUMBER.fullmatch(text) else None


def means_no_digit(text: str) -> bool:
    """Tell whether a label says that a picture shows no digit.

    >>> means_no_digit(" None"), means_no_digit("not a digit"), means_no_digit("")
    (True, True, False)
    """
    return text.strip().lower() in NO_DIGIT_WORDS
