from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from batch_sources import read_kaggle
from dataset import load_kaggle
from errors import DataFormatError, DataNotFoundError
from kaggle import LINES, PIXELS, has_labels, read_rows

NAMES = [f"pixel{number}" for number in range(PIXELS)]


def write(path: Path, *lines: str, labels: bool = True) -> Path:
    """Write a file with a line for each text, which is a row without its last 783 zeros."""
    rest = ",0" * (PIXELS - 1)
    rows = [f"{line}{rest}" if line.strip() else line for line in lines]
    header = ",".join((["label"] if labels else []) + NAMES)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_rows_come_in_arrays_of_bytes_in_the_order_of_the_file(tmp_path):
    count = LINES + 3
    path = write(tmp_path / "test.csv", *(str(n % 256) for n in range(count)), labels=False)

    arrays = list(read_rows(path))

    assert [array.shape for array in arrays] == [(LINES, PIXELS), (3, PIXELS)]
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}
    assert np.concatenate(arrays)[:, 0].tolist() == [n % 256 for n in range(count)]


@pytest.mark.parametrize("labels", [True, False])
def test_a_file_says_whether_it_has_labels(tmp_path, labels):
    path = write(tmp_path / "some.csv", "1,2" if labels else "2", labels=labels)

    assert has_labels(path) is labels


@pytest.mark.parametrize(
    "lines",
    [("3,7", "4,8", ""), ("3,7", "", "  ", "4,8"), ("3.0,7.0", "4,8e0"), ('"3","7"', " 4 , 8 ")],
    ids=["empty at the end", "empty between", "with a point", "with quotes and spaces"],
)
def test_training_and_batches_read_the_same_whatever_wrote_the_file(tmp_path, lines):
    """A batch ended with a traceback at an empty last line, and refused 0.0."""
    path = write(tmp_path / "train.csv", *lines)

    digits = load_kaggle(path)
    items = list(read_kaggle(path))

    assert digits.labels is not None
    assert digits.labels.tolist() == [item.label for item in items] == [3, 4]
    assert digits.images[:, 0, 0].tolist() == [(item.data or b"")[0] for item in items] == [7, 8]
    assert [item.path for item in items] == [f"{path}#1", f"{path}#2"]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("12,0", "line 3, column label: '12' is not a whole number from 0 to 9"),
        ("1,0.5", "line 3, column pixel0: '0.5'"),
        ("1,-1", "line 3, column pixel0: '-1'"),
        ("1,nan", "line 3, column pixel0: 'nan'"),
        ("1,1e9", "line 3, column pixel0: '1e9'"),
        ("1,\N{LATIN SMALL LETTER E WITH ACUTE}", "line 3, column pixel0"),
        ("1,1_0", "lines 2 to 3: not a table"),
        ("1,0,0", "line 3: 786 values, not 785"),
        (",,", "line 3: 786 values, not 785"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("read", [load_kaggle, lambda path: list(read_kaggle(path))])
def test_training_and_batches_refuse_the_same_cells(tmp_path, line, hint, encoding, read):
    """Batches took a label of 12 for no label, and ended with a traceback at a Latin-1 byte."""
    path = write(tmp_path / "train.csv", "1,0.0", line)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))

    with pytest.raises(DataFormatError) as caught:
        read(path)

    assert f"{path}, {hint}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "line 1: expected the names"),
        (b"label,pixel0\n1,2\n", "found 2 names beginning 'label,pixel0'"),
        (bytes(range(256)), "line 1: expected the names"),
        (b"x" * 200_000, "cannot be read as CSV"),
        (",".join(NAMES).encode() + b"\n\n", "no pictures after the first line"),
    ],
    ids=["empty", "too few names", "no text", "one giant cell", "no pictures"],
)
def test_a_file_that_is_not_kaggles_is_refused(tmp_path, content, hint):
    path = tmp_path / "train.csv"
    path.write_bytes(content)

    with pytest.raises(DataFormatError, match=hint) as caught:
        has_labels(path)

    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"nothing\.csv"):
        list(read_rows(tmp_path / "nothing.csv"))
