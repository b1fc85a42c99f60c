"""Labelled pictures are found wherever they lie, and what lacks a label is named."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import samples
from errors import DataFormatError, DataNotFoundError, DigitError, SettingsError
from hands import NOT_A_DIGIT
from samples import has_columns, holds_mnist_form, load_mnist_form, load_samples

DigitFile = Callable[..., Path]


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


KAGGLE = "label," + ",".join(f"pixel{place}" for place in range(784)) + "\n"
ROW = ",".join(["0"] * 783 + ["255"])


def test_mnist_means_the_validation_pictures_unless_a_split_is_named(mnist_folder: Path) -> None:
    validation = load_samples("mnist", mnist_folder)
    test = load_samples("mnist:test", mnist_folder)

    assert (len(validation), len(test)) == (100, 300)
    assert validation[3].name == "mnist:validation#3"
    assert {sample.label for sample in validation} == set(range(10))
    assert all(sample.input.is_raw for sample in validation)


def test_scikit_learns_digits_come_in_both_polarities(tmp_path: Path) -> None:
    found = load_samples("load_digits", tmp_path)

    assert len(found) == 2 * 1797
    assert [sample.groups["polarity"] for sample in found[:2]] == [
        "light on dark",
        "dark on light",
    ]
    assert (found[0].label, found[1].label) == (0, 0)
    assert len({sample.view_of for sample in found}) == 1797
    assert found[0].view_of == found[1].view_of != found[2].view_of


def test_a_folder_is_labelled_by_the_folders_in_it(
    tmp_path: Path, digit_png: DigitFile, caplog: pytest.LogCaptureFixture
) -> None:
    digit_png(3, name="set/3/a.png")
    digit_png(7, name="set/deep/7/b.png")
    digit_png(1, name="set/none/c.png")
    digit_png(5, name="set/5.png")

    with caplog.at_level(logging.WARNING):
        found = load_samples(str(tmp_path / "set"), tmp_path)

    assert {Path(sample.name).name: sample.label for sample in found} == {
        "a.png": 3,
        "b.png": 7,
        "c.png": NOT_A_DIGIT,
    }
    assert "left out 1 file in no folder" in caplog.text


def test_a_table_names_files_beside_it_and_says_what_else_is_known(
    tmp_path: Path, digit_png: DigitFile
) -> None:
    digit_png(3, name="a.png")
    table = write(tmp_path / "table.csv", "file,label,kind\na.png,3.0,scan\nb/c.png, None ,photo\n")

    first, second = load_samples(table, tmp_path, groups=["kind"])

    assert (first.name, first.label, first.groups) == ("a.png", 3, {"kind": "scan"})
    assert first.input.file == str(tmp_path / "a.png")
    assert (second.label, second.groups["kind"]) == (NOT_A_DIGIT, "photo")


def test_kaggles_table_holds_pixels(tmp_path: Path) -> None:
    table = write(tmp_path / "train.csv", f"{KAGGLE}4,{ROW}\n9,{ROW}\n")

    found = load_samples(table, tmp_path)

    assert [sample.label for sample in found] == [4, 9]
    assert found[0].input.data is not None
    assert found[0].input.data[-1] == 255


@pytest.mark.parametrize(
    ("name", "header", "expected"),
    [
        ("table.csv", "path,label,kind", True),
        ("TABLE.CSV", "path,label,kind", True),
        ("missing.csv", None, True),  # to be told so, and not that it has no columns
        ("train.csv", ",".join(["label", *(f"pixel{each}" for each in range(784))]), False),
        ("scans", None, False),
        ("mnist:test", None, False),
    ],
)
def test_only_a_table_of_files_has_columns_to_count_by(
    tmp_path: Path, name: str, header: str | None, expected: bool
) -> None:
    if header:
        (tmp_path / name).write_text(f"{header}\n", encoding="utf-8")

    assert has_columns(str(tmp_path / name) if "." in name else name) is expected


def test_generated_pictures_have_seeds_that_training_does_not_use(
    tmp_path: Path, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures themselves are tested with hands.py; here they would take ten seconds."""
    seeds = []

    def make(count: int, *, seed: int, **_: object) -> tuple[np.ndarray, np.ndarray]:
        seeds.append(seed)
        return np.zeros((4, 28, 28), np.uint8), np.arange(4)

    monkeypatch.setattr(samples, "make_hands", make)
    monkeypatch.setattr(samples, "make_non_digits", make)

    digits = load_samples("hands", mnist_folder)
    others = load_samples("non-digits", mnist_folder)

    assert min(seeds) >= 1_000
    assert [sample.label for sample in digits] == [0, 1, 2, 3]
    assert {sample.label for sample in others} == {NOT_A_DIGIT}
    assert others[0].groups["kind"] == "letter"


@pytest.mark.parametrize(
    ("limit", "workers", "expected"),
    [
        (300, 0, (300, 1)),
        (0, 0, (2_000, 1)),
        (300, 3, (300, 3)),
        (5_000, None, (2_000, None)),
    ],
)
def test_no_more_pictures_are_made_than_wanted_and_by_no_more_processes(
    mnist_folder: Path, monkeypatch: pytest.MonkeyPatch,
    limit: int, workers: int | None, expected: tuple[int, int | None],
) -> None:  # fmt: skip
    """For `--limit 300 --workers 0`, 2,000 of each were made on all cores."""
    asked = []

    def make(
        count: int, *, workers: int | None = None, **_: object
    ) -> tuple[np.ndarray, np.ndarray]:
        asked.append((count, workers))
        return np.zeros((count, 28, 28), np.uint8), np.zeros(count, int)

    monkeypatch.setattr(samples, "make_hands", make)
    monkeypatch.setattr(samples, "make_non_digits", make)

    for what in ("hands", "non-digits"):
        found = load_samples(what, mnist_folder, limit=limit, workers=workers)
        assert len(found) == expected[0]

    assert asked == [expected, expected]


def test_a_limit_takes_pictures_from_everywhere_in_the_set(mnist_folder: Path) -> None:
    found = load_samples("mnist", mnist_folder, limit=5)

    assert [sample.name.partition("#")[2] for sample in found] == ["0", "25", "50", "74", "99"]


def test_pictures_in_mnists_form_can_be_had_as_arrays(tmp_path: Path, mnist_folder: Path) -> None:
    table = write(tmp_path / "train.csv", f"{KAGGLE}4,{ROW}\n")
    other = write(tmp_path / "table.csv", "file,label\na.png,3\n")

    digits = load_mnist_form("mnist:validation", mnist_folder, limit=10)

    assert digits.images.shape == (10, 28, 28)
    assert holds_mnist_form("mnist")
    assert holds_mnist_form(table)
    assert not holds_mnist_form("load_digits")
    assert not holds_mnist_form(other)
    assert not holds_mnist_form(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("", "no column of paths among nothing"),
        ("name,label\na.png,3\n", "no column of paths among 'name', 'label'"),
        ("file,digits\na.png,3\n", "no column of labels among 'file', 'digits'"),
        ("file,label\na.png,12\n", "line 2: the label '12'"),
        ("file,label\na.png,3\nb.png,\n", "line 3: the label ''"),
        ("file,label\n\na.png,3\n\n\nb.png,x7\n", "line 6: the label 'x7'"),
        ("file,label\na.png\n", "line 2: the label"),
        ("file,label\n", "no picture in it has a label"),
        (KAGGLE.removeprefix("label,") + ROW + "\n", "has no labels"),
        ("file,label\na.png,3\n", "no column 'writer'"),
    ],
)
def test_a_table_that_says_too_little_is_refused(tmp_path: Path, content: str, hint: str) -> None:
    table = write(tmp_path / "table.csv", content)

    with pytest.raises(DataFormatError, match=hint) as caught:
        load_samples(table, tmp_path, groups=["writer"] if "writer" in hint else [])

    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("what", "limit", "kind", "hint"),
    [
        ("mnist:exam", 0, SettingsError, "mnist:validation"),
        ("mnist", -1, SettingsError, "limit -1"),
        ("no/such/folder", 0, DataNotFoundError, "no such folder or file"),
        ("no/such.csv", 0, DataNotFoundError, "no such folder or file"),
        (".", 0, DataFormatError, "folders named 0 to 9"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_with_advice(
    mnist_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    limit: int,
    kind: type[DigitError],
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(kind, match=hint):
        load_samples(what, mnist_folder, limit=limit)


def test_a_table_that_may_not_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name ends as Kaggle's does, so it was opened for a look, with a traceback."""
    table = write(tmp_path / "table.csv", KAGGLE + f"7,{ROW}\n")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)

    assert not holds_mnist_form(table)
    with pytest.raises(DataFormatError, match=r"table\.csv cannot be read"):
        load_samples(table, tmp_path)


def test_a_name_that_no_file_can_have_is_not_found(tmp_path: Path) -> None:
    name = str(tmp_path / f"{'x' * 300}.csv")

    assert not holds_mnist_form(name)
    with pytest.raises(DataNotFoundError, match="xxx"):
        load_samples(name, tmp_path)
