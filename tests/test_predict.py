"""One predictor: three values to unpack, ten probabilities, the same answer through every call."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

import predict
from degrade import lay_on_table, photograph
from errors import BlankImageError, DigitError, ImageError, ModelNotFoundError, SettingsError
from evaluate_numbers import make_rows
from fonts import find_fonts
from pen import Hand, crop
from picture import Picture, PictureSource
from predict import MNISTPredictor, main, measure_doubt, round_up_batch
from preprocess import Prepared, prepare
from reading import Prediction, Reading
from registry import save_checkpoint
from strokes import draw_digit, draw_number
from tests.test_reading import NONE, OK, UNSURE, found
from utils import PROJECT

if TYPE_CHECKING:
    from tests.conftest import Handwriting

DigitFile = Callable[..., Path]
Page = Callable[..., np.ndarray]


def test_a_prediction_unpacks_to_digit_confidence_and_probabilities(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    digit, confidence, probabilities = tiny_predictor.predict(str(digit_png(3)))

    assert digit == 3
    assert 0 <= confidence <= 1
    assert probabilities.shape == (10,)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert confidence == probabilities.max() == probabilities[digit]


def test_every_digit_of_the_tiny_model_is_read(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    read = [tiny_predictor.predict(digit_png(digit)).digit for digit in range(10)]

    assert sum(a == b for a, b in zip(read, range(10), strict=True)) >= 9


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_batch_gives_the_same_answers_as_single_calls(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile, batch_size: int
) -> None:
    paths = [digit_png(digit, number=number) for digit in range(10) for number in range(2)]

    single = [tiny_predictor.predict(path) for path in paths]
    batched = tiny_predictor.predict_batch(paths, batch_size=batch_size)

    for one, other in zip(single, batched, strict=True):
        assert isinstance(other, Prediction)
        assert (one.digit, one.verdict) == (other.digit, other.verdict)
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_the_same_picture_gets_the_same_answer_in_every_form(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    path = digit_png(8)
    with Image.open(path) as image:
        image.load()
    array = np.asarray(image)
    forms = [path, str(path), path.read_bytes(), image, array, torch.from_numpy(array.copy())]

    answers = [tiny_predictor.predict(form).probabilities for form in forms]

    assert all(np.array_equal(answers[0], answer) for answer in answers)


def test_a_bad_picture_in_a_batch_stops_it_or_takes_its_own_place(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile, tmp_path: Path
) -> None:
    sources = [digit_png(1), tmp_path / "missing.png", digit_png(2)]

    answers = tiny_predictor.predict_batch(sources, errors="return")

    assert [type(answer) for answer in answers][::2] == [Prediction, Prediction]
    assert isinstance(answers[1], ImageError)
    assert "missing.png" in str(answers[1])
    with pytest.raises(ImageError, match=r"missing\.png"):
        tiny_predictor.predict_batch(sources)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": -1}, {"errors": "ignore"}, {"errors": None}]
)
def test_a_batch_with_an_impossible_option_is_refused_by_its_name(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile, options: dict[str, Any]
) -> None:
    """A batch size of -1 gave no answers at all."""
    with pytest.raises(SettingsError, match=next(iter(options))):
        tiny_predictor.predict_batch([digit_png(1), digit_png(2)], **options)


@pytest.mark.parametrize(
    ("count", "size"),
    [(1, 1), (2, 2), (3, 4), (33, 64), (129, 160), (256, 256), (257, 257), (261, 264)],
)
def test_a_batch_is_rounded_up_to_one_of_few_sizes(count: int, size: int):
    assert round_up_batch(count) == size


@pytest.mark.parametrize("pad_to", [None, 2, 7, 64])
def test_the_pictures_that_fill_up_a_batch_are_not_in_its_answers(
    tiny_predictor: MNISTPredictor, pad_to: int | None
):
    prepared = [prepare(draw_digit(digit, np.random.default_rng(digit))) for digit in (1, 5, 7)]
    sizes: list[int] = []
    hook = tiny_predictor.network.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0]))
    )

    answers = tiny_predictor.predict_prepared(prepared, pad_to=pad_to)

    hook.remove()
    assert sizes == [max(3, pad_to or 4)]
    alone = [tiny_predictor.predict_prepared([each])[0] for each in prepared]
    assert [each.digit for each in answers] == [each.digit for each in alone]
    for together, single in zip(answers, alone, strict=True):
        assert together.confidence == pytest.approx(single.confidence, abs=1e-5)


@pytest.mark.parametrize("seed", [24, 42, 59, 114, 150, 161])
def test_a_digit_that_fills_its_picture_is_read_as_a_number_as_it_is_read_alone(seed: int):
    """Its strokes are as long as ruled lines on a page would be, and were taken away as such."""
    rng = np.random.default_rng(seed)
    ink = crop(draw_digit(seed % 10, rng, size=int(rng.integers(28, 200))))
    picture = 255 - np.pad(ink, int(rng.integers(1, 2 + max(ink.shape) // 8)))
    predictor = MNISTPredictor()

    alone = predictor.predict(picture)
    reading = predictor.read(picture)

    assert (alone.digit, alone.verdict) == (seed % 10, "ok")
    assert (reading.text, reading.verdict) == (str(alone.digit), "ok")
    [found] = reading.digits
    assert found.prediction.probabilities == pytest.approx(alone.probabilities, abs=1e-4)
    margin = (picture.shape[0] - ink.shape[0]) // 2
    wanted = (margin, margin, margin + ink.shape[1], margin + ink.shape[0])
    assert np.abs(np.subtract(found.box, wanted)).max() <= 2


@pytest.mark.parametrize(
    ("start", "end"), [((150, 40), (200, 42)), ((72, 45), (88, 44))], ids=["far", "minus"]
)
def test_a_digit_beside_other_marks_is_no_picture_of_one_digit(
    start: tuple[int, int], end: tuple[int, int]
):
    page = np.full((90, 240), 255, np.uint8)
    page[15:75, 90:150] -= draw_digit(7, np.random.default_rng(0), size=60)
    cv2.line(page, start, end, 0, 6)  # smaller than a digit

    reading = MNISTPredictor().read(page)

    assert reading.text == "7"
    assert reading.verdict == "unsure"
    assert "left out" in reading.reason


def draw_percentage(number: str, *, pen: int) -> np.ndarray:
    """Write a number of two digits and a percent sign."""
    ink, _ = draw_number(number, np.random.default_rng(1), height=60)
    page = np.pad(ink, ((30, 30), (30, 110)))
    right = 40 + ink.shape[1]
    for middle in ((right + 12, 44), (right + 40, 76)):
        cv2.circle(page, middle, 9, 255, pen)
    cv2.line(page, (right + 10, 90), (right + 42, 30), 255, pen)
    return 255 - page


def test_a_percent_sign_is_left_out_and_said_to_be():
    """Written with a broad pen it was cut into a 9 and a 6: 57% was read as 5796, and surely."""
    reading = MNISTPredictor().read(draw_percentage("57", pen=6))

    assert (reading.text, reading.verdict) == ("57", "unsure")
    assert reading.reason == "1 mark beside them left out"
    assert [mark.prediction.reason for mark in reading.left_out] == ["this is a percent sign"]


def test_a_number_with_a_percent_sign_stands_upright():
    """It was turned by 90 degrees, and its rings read as six 0s in three lines, and surely."""
    reading = MNISTPredictor().read(draw_percentage("88", pen=3))

    assert (reading.text, reading.turn) == ("88", 0)


def test_a_number_that_is_struck_out_is_unsure():
    """The line was taken for a ruled one, and the number read as if nobody had struck it out."""
    ink, _ = draw_number("96281", np.random.default_rng(1), height=60)
    page = np.pad(ink, ((30, 30), (50, 50)))
    middle, end = page.shape[0] // 2, page.shape[1] - 40
    cv2.line(page, (40, middle + 4), (end, middle - 4), 255, 5)

    reading = MNISTPredictor().read(255 - page)

    assert reading.verdict == "unsure"
    assert "struck out" in reading.reason


def test_an_underlined_number_is_read_without_its_lines():
    ink, _ = draw_number("96281", np.random.default_rng(1), height=60)
    page = np.pad(ink, ((30, 60), (50, 50)))
    foot, end = page.shape[0] - 48, page.shape[1] - 40
    cv2.line(page, (40, foot), (end, foot + 5), 255, 4)
    cv2.line(page, (46, foot + 14), (end, foot + 12), 255, 4)

    reading = MNISTPredictor().read(255 - page)

    assert (reading.text, reading.verdict, reading.left_out) == ("96281", "ok", ())


def test_a_number_in_a_ring_is_read_without_the_ring():
    ink, _ = draw_number("4711", np.random.default_rng(1), height=60)
    page = np.pad(ink, ((60, 60), (80, 80)))
    middle = page.shape[1] // 2, page.shape[0] // 2
    cv2.ellipse(page, middle, (middle[0] - 10, middle[1] - 10), 0, 0, 350, 255, 4)

    reading = MNISTPredictor().read(255 - page)

    assert (reading.text, reading.verdict, reading.left_out) == ("4711", "ok", ())


@pytest.mark.parametrize("turned", [0, 1], ids=["upright", "on its side"])
def test_a_number_on_a_note_is_read_without_the_table_that_it_lies_on(turned: int):
    """Of such photographs 5 in 100 were read: the edge of the paper and the grain were digits."""
    ink, _ = draw_number("962814", np.random.default_rng(1), height=60)
    note = 255 - np.pad(ink, ((60, 70), (60, 60)))
    photo = np.ascontiguousarray(np.rot90(lay_on_table(note, np.random.default_rng(1)), turned))

    reading = MNISTPredictor().read(photo)

    assert (reading.text, reading.verdict, reading.left_out) == ("962814", "ok", ())
    assert reading.turn == (270 if turned else 0)
    for digit in reading.digits:
        left, top, right, bottom = digit.box
        assert photo[top:bottom, left:right].min() < 60  # boxes are those of the whole picture
        assert max(right - left, bottom - top) < 90


def write_form(field: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Write 7035 dark on white, and below it 2814 in a field that is made of such a picture."""
    upper, lower = (
        np.pad(draw_number(digits, np.random.default_rng(1), height=50)[0], ((40, 40), (30, 30)))
        for digits in ("7035", "2814")
    )
    width = max(upper.shape[1], lower.shape[1])
    upper, lower = (
        255 - np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in (upper, lower)
    )
    return np.pad(np.vstack([upper, field(lower)]), 50, constant_values=255)


def test_a_number_beside_a_coloured_field_is_read_with_what_is_in_the_field():
    form = write_form(lambda field: (0.7 * field).astype(np.uint8))

    reading = MNISTPredictor().read(form)

    assert (reading.lines, reading.verdict) == (["7035", "2814"], "ok")


def test_a_number_in_a_field_is_unsure_where_the_one_beside_it_cannot_be_read_with_it():
    form = write_form(lambda field: 255 - field)  # white on black, and black on white

    reading = MNISTPredictor().read(form)

    assert (reading.text, reading.verdict) == ("2814", "unsure")
    assert reading.reason == "there are digits beside the page, too"


def test_a_digit_whose_loop_is_narrow_is_no_page_with_a_number():
    """The inside of the 0 was read as a 1, and surely."""
    page = np.full((300, 300), 255, np.uint8)
    cv2.ellipse(page, (150, 150), (35, 90), 0, 0, 360, 0, 30, cv2.LINE_AA)

    reading = MNISTPredictor().read(page)

    assert (reading.text, reading.verdict) == ("0", "ok")


def test_of_a_number_on_a_note_no_single_digit_is_told_as_if_it_were_all():
    """The 5 by itself was sure, and the number of which it is the first digit was not."""
    *_, (_, digits, photo) = make_rows(17, seed=1, on_table=True)

    assert MNISTPredictor().read(photo).text == digits == "51568"


@pytest.mark.parametrize("grey", [110, 130])
def test_a_part_of_a_digit_for_which_the_pen_had_little_ink_is_no_crease(grey: int):
    """Without it the 9 and the 8 were read as 0, and surely."""
    nine, eight = (np.full((240, 160), 255, np.uint8) for _ in range(2))
    cv2.line(nine, (112, 80), (100, 239), grey, 12, cv2.LINE_AA)
    cv2.ellipse(nine, (80, 80), (36, 44), 0, 0, 360, 0, 12, cv2.LINE_AA)
    cv2.ellipse(eight, (80, 160), (36, 44), 0, 0, 360, grey, 12, cv2.LINE_AA)
    cv2.ellipse(eight, (80, 75), (30, 40), 0, 0, 360, 0, 12, cv2.LINE_AA)

    answers = MNISTPredictor().predict_batch([nine, eight])

    assert [(answer.digit, answer.verdict) for answer in answers] == [(9, "ok"), (8, "ok")]


COLLECTIONS: list[tuple[str, Callable[[np.ndarray], Iterable[PictureSource]]]] = [
    ("list", list),
    ("tuple", tuple),
    ("generator", lambda pictures: (picture for picture in pictures)),
    ("array", lambda pictures: pictures),
    ("array with channels", lambda pictures: np.stack([pictures] * 3, axis=-1)),
    ("tensor", lambda pictures: torch.from_numpy(pictures)),
    ("tensor with channels", lambda pictures: torch.from_numpy(pictures)[:, None]),
    ("dict values", lambda pictures: dict(enumerate(pictures)).values()),
]


@pytest.mark.parametrize(
    "collect", [row[1] for row in COLLECTIONS], ids=[row[0] for row in COLLECTIONS]
)
def test_a_batch_may_come_in_any_collection(
    tiny_predictor: MNISTPredictor, handwriting: Handwriting,
    collect: Callable[[np.ndarray], Iterable[PictureSource]],
) -> None:  # fmt: skip
    """Even three of them: as a picture, an array of (3, height, width) would have colours."""
    pictures = (handwriting.images[:3] * 255).astype(np.uint8)

    answers = tiny_predictor.predict_batch(collect(pictures), batch_size=2)

    assert [answer.digit for answer in answers] == [
        tiny_predictor.predict(picture).digit for picture in pictures
    ]


def test_a_lazy_batch_is_asked_for_no_more_pictures_than_are_read_at_once(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, read_after = [], []
    path, read = digit_png(1), tiny_predictor.predict_prepared

    def give() -> Iterator[Path]:
        for number in range(5):
            given.append(number)
            yield path

    def read_and_count(prepared: Sequence[Prepared]) -> list[Prediction]:
        read_after.append(len(given))
        return read(prepared)

    monkeypatch.setattr(tiny_predictor, "predict_prepared", read_and_count)

    answers = tiny_predictor.predict_batch(give(), batch_size=2)

    assert len(answers) == 5
    assert read_after == [2, 4, 5]


ONE_PICTURE = np.zeros((28, 28), np.uint8)


@pytest.mark.parametrize(
    ("sources", "hint"),
    [
        ("seven.png", r"one str .*\[picture\]"),
        (Path("seven.png"), r"one \w*Path .*\[picture\]"),
        (b"seven", "one bytes"),
        (bytearray(b"seven"), "one bytearray"),
        (io.BytesIO(b"seven"), "one BytesIO"),
        (Image.new("L", (28, 28)), "one Image"),
        (Picture(ONE_PICTURE, 28, 28), "one Picture"),
        (ONE_PICTURE, r"\(28, 28\).*\(N, height, width\)"),
        (np.zeros((28, 28, 3), np.uint8), r"\(28, 28, 3\)"),
        (np.zeros((28, 28, 2), np.uint8), r"\(28, 28, 2\)"),
        (torch.zeros(28, 28), r"\(28, 28\)"),
        (np.zeros(()), "one ndarray"),
        ({"seven": "seven.png"}, "list of its values"),
        (None, "one NoneType"),
        (7, "one int"),
    ],
)
def test_what_is_no_collection_of_pictures_is_refused_by_its_kind(
    tiny_predictor: MNISTPredictor, sources: Any, hint: str
) -> None:
    """`predict_batch("seven.png")` said "s: no such file"."""
    with pytest.raises(SettingsError, match=hint):
        tiny_predictor.predict_batch(sources, errors="return")


def test_an_empty_batch_gives_an_empty_list(tiny_predictor: MNISTPredictor) -> None:
    assert tiny_predictor.predict_batch([]) == []


def test_a_blank_picture_is_an_error_and_not_a_digit(tiny_predictor: MNISTPredictor) -> None:
    with pytest.raises(BlankImageError, match="blank"):
        tiny_predictor.predict(np.full((280, 280), 255, np.uint8))


def test_many_threads_get_the_answers_of_one(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    paths = [digit_png(digit, number=number) for digit in range(10) for number in range(3)]
    alone = [tiny_predictor.predict(path).probabilities for path in paths]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: tiny_predictor.predict(path).probabilities, paths))

    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(alone, together, strict=True))


def test_guesses_come_best_first(tiny_predictor: MNISTPredictor, digit_png: DigitFile) -> None:
    prediction = tiny_predictor.predict(digit_png(5))

    top = prediction.top(3)

    assert top[0] == (prediction.digit, pytest.approx(prediction.confidence))
    assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)


def test_the_answer_as_plain_values_survives_json(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    answer = tiny_predictor.predict(digit_png(6)).to_dict()

    again = json.loads(json.dumps(answer))

    assert again == answer
    assert {"digit", "confidence", "probabilities", "verdict", "reason"} <= again.keys()


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(models_folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="mnist_cnn_best"):
        MNISTPredictor("mnist_cn_best", folder=models_folder)


def test_the_shipped_model_reads_what_the_project_draws() -> None:
    predictor = MNISTPredictor()

    from predict import demonstrate

    answers = predictor.predict_batch([source for _, source in demonstrate()])

    assert [a.digit for a in answers if isinstance(a, Prediction)] == list(range(10))


@pytest.mark.parametrize(
    ("letter", "read_as"),
    [("O", {0}), ("S", {5}), ("l", {1}), ("Z", {1, 2}), ("B", {"not a digit"})],
)
def test_the_shipped_model_takes_printed_letters_as_the_model_card_says(
    letter: str, read_as: set[int | str]
) -> None:
    """The card said that a B is read as an 8; every one is refused."""
    pictures = []
    for path in find_fonts():
        picture = Image.new("L", (120, 120), "white")
        ImageDraw.Draw(picture).text((30, 5), letter, "black", ImageFont.truetype(path, 90))
        pictures.append(picture)

    answers = MNISTPredictor().predict_batch(pictures)

    found = [
        answer.verdict if answer.verdict == "not a digit" else answer.digit
        for answer in answers
        if isinstance(answer, Prediction)
    ]
    assert len(found) == 20
    assert set(found) == read_as
    if letter == "Z":
        assert found.count(2) == 16


@pytest.mark.parametrize("paper", ["grid", "ruled"])
def test_the_shipped_model_reads_what_stands_on_lined_paper(paper: str) -> None:
    rng = np.random.default_rng(8)
    predictor = MNISTPredictor()
    truth = list(range(10)) * 4

    pictures = [
        photograph(draw_digit(digit, rng, size=160), rng, strength=0.5, effects=[paper])
        for digit in truth
    ]
    answers = predictor.predict_batch(pictures)

    right = [
        isinstance(answer, Prediction) and answer.digit == digit
        for digit, answer in zip(truth, answers, strict=True)
    ]
    assert sum(right) >= 38


def test_the_command_line_prints_one_row_for_each_picture(
    digit_png: DigitFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([str(digit_png(7)), str(tmp_path / "none.png"), "--device", "cpu"])

    rows = capsys.readouterr().out.splitlines()
    assert code == 1
    assert len(rows) == 3
    assert "none.png" in rows[2]
    assert "no such file" in rows[2]


ODD_NAMES = ["new\nline.png", os.fsdecode(b"bad\xff.png"), "\x1b[2J.png"]


@pytest.mark.parametrize("flags", [[], ["--number"]])
def test_each_picture_has_one_row_in_line_with_the_others_whatever_its_name(
    flags: list[str], tmp_path: Path, digit_png: DigitFile, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line break made two lines of a row, and a byte that is no UTF-8 shifted it."""
    there = digit_png(7).read_bytes()
    (tmp_path / ODD_NAMES[0]).write_bytes(there)

    main([*flags, *(str(tmp_path / name) for name in ODD_NAMES)])

    titles, *rows = capsys.readouterr().out.split("\n")[:-1]
    assert len(rows) == len(ODD_NAMES)
    assert all(row.isprintable() for row in rows)
    verdicts = [row[titles.index("verdict") :].split()[0] for row in rows]
    assert verdicts[1:] == ["error", "error"]
    assert verdicts[0] != "error"


def test_the_command_line_prints_json_that_can_be_piped(
    digit_png: DigitFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, missing = str(digit_png(7)), str(tmp_path / "none.png")

    code = main([path, missing, "--json"])

    rows = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [row["file"] for row in rows] == [path, missing]
    assert len(rows[0]["probabilities"]) == 10
    assert rows[1]["verdict"] == "error"
    assert "no such file" in rows[1]["reason"]


def test_without_pictures_the_command_line_shows_what_it_can(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 11


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--top", "0"], "--top 0: choose 1 to 10"),
        (["--top", "-1"], "--top -1: choose 1 to 10"),
        (["--top", "11"], "--top 11: choose 1 to 10"),
        (["--top", "3", "--json"], "JSON holds all ten"),
        (["--top", "3", "--number"], "--top is for single digits"),
        (["--turn", "180"], "--turn is for --number"),
        (["--turn", "auto", "--json"], "--turn is for --number"),
    ],
)
def test_flags_that_would_have_no_effect_are_refused(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were passed over in silence, and `--top -1` printed eight guesses."""
    code = main(words)

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert hint in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "guesses"), [([], 3), (["--top", "1"], 1), (["--top", "10"], 10)]
)
def test_as_many_guesses_are_printed_as_were_asked_for(
    words: list[str], guesses: int, digit_png: DigitFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(digit_png(7)), *words]) == 0

    assert capsys.readouterr().out.count("%") == guesses


@pytest.mark.parametrize("words", [[], ["--number"]])
def test_a_pattern_that_the_shell_has_left_is_expanded(
    words: list[str],
    digit_png: DigitFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """PowerShell and cmd expand none."""
    for name in ("own/2/b.png", "own/1/a.png", "own/1/[a].png"):
        digit_png(7, name=name)
    monkeypatch.chdir(tmp_path)

    code = main(["own/1/[a].png", "own/*/*.png", "own/**/b*", "--json", *words])

    rows = json.loads(capsys.readouterr().out)
    found = ["own/1/[a].png", "own/1/[a].png", "own/1/a.png", "own/2/b.png", "own/2/b.png"]
    assert [Path(row["file"]).as_posix() for row in rows] == found
    assert code == 0


def test_a_missing_name_with_brackets_is_not_answered_by_another_file(
    digit_png: DigitFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Copies are called scan[1].png; scan1.png was read in its place."""
    digit_png(7, name="scan1.png")
    monkeypatch.chdir(tmp_path)

    assert main(["scan[1].png"]) == 1

    assert "scan[1].png: no such file" in capsys.readouterr().out


def test_a_pattern_without_a_match_is_missing_like_any_other_file(
    digit_png: DigitFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    digit_png(7, name="own/a.png")
    monkeypatch.chdir(tmp_path)

    assert main(["own/*.jpg", "own/*.png"]) == 1

    _, missing, read = capsys.readouterr().out.splitlines()
    assert re.match(r"own/\*\.jpg +- +- +error +own/\*\.jpg: no such file", missing)
    assert re.match(r"own.a\.png +7", read)


def test_an_unknown_model_on_the_command_line_is_one_clear_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--model", "nonsense"]) == 1

    assert capsys.readouterr().err.startswith("error: no model 'nonsense'")


def test_reading_a_picture_does_not_import_what_it_does_not_need(digit_png: DigitFile) -> None:
    code = (
        "import sys, predict; predict.main([sys.argv[1]]); "
        "print({'torchvision', 'gradio', 'pandas', 'matplotlib', 'sklearn', 'scipy'} "
        "& set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(digit_png(4))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "set()"


def test_our_errors_are_digit_errors(tiny_predictor: MNISTPredictor) -> None:
    with pytest.raises(DigitError):
        tiny_predictor.predict(b"not a picture")


def test_doubt_is_zero_when_sure_and_one_when_nothing_is_likelier_than_the_rest() -> None:
    sure, split, none = np.eye(10)[0], np.repeat([0.5, 0], [2, 8]), np.full(10, 0.1)

    doubt = measure_doubt(np.stack([sure, split, none]))

    assert doubt == pytest.approx([0.0, np.log10(2), 1.0], abs=1e-9)


@pytest.mark.parametrize(
    ("probabilities", "box", "others", "verdict", "reason"),
    [
        ({3: 1.0}, (0, 0, 20, 28), 0, "ok", ""),
        ({3: 1.0}, (0, 0, 20, 28), 1, "unsure", "there is more than one digit in the picture"),
        ({1: 0.6, 7: 0.4}, (0, 0, 20, 28), 0, "unsure", "it could also be a 7"),
        ({3: 0.6, 8: 0.4}, (0, 0, 20, 28), 0, "unsure", "it could also be an 8"),
        ({4: 0.8, **dict.fromkeys((0, 1, 2, 3, 5), 0.04)}, (0, 0, 20, 28), 0, "unsure",
         "this is an unusual 4"),
        (dict.fromkeys(range(10), 0.1), (0, 0, 20, 28), 0, "not a digit",
         "this does not look like a digit"),
        (dict.fromkeys(range(10), 0.1), (0, 0, 40, 28), 0, "not a digit",
         "this does not look like a single digit"),
        (dict.fromkeys(range(10), 0.1), (0, 0, 20, 28), 2, "not a digit",
         "this does not look like a single digit"),
    ],
)  # fmt: skip
def test_a_verdict_comes_with_its_reason_in_plain_words(
    tiny_predictor: MNISTPredictor,
    monkeypatch: pytest.MonkeyPatch,
    probabilities: dict[int, float],
    box: tuple[int, int, int, int],
    others: int,
    verdict: str,
    reason: str,
) -> None:
    logits = torch.tensor([[np.log(probabilities.get(digit, 1e-9)) for digit in range(10)]])
    monkeypatch.setattr("predict.compute_logits", lambda *_: logits)
    picture = Prepared(np.zeros((28, 28), np.float32), 60, 60, box, dark_ink=True, others=others)

    (prediction,) = tiny_predictor.predict_prepared([picture])

    assert (prediction.verdict, prediction.reason) == (verdict, reason)
    assert prediction.is_several == ("more than one" in reason or "single" in reason)
    assert prediction.digit == max(probabilities, key=lambda digit: probabilities[digit])


def test_a_checkpoints_own_thresholds_decide(
    tmp_path: Path, tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    strict = tmp_path / "strict.pth"
    save_checkpoint(
        strict,
        tiny_predictor.checkpoint.model,
        refusal={"unsure_above": 0.0, "not_a_digit_above": 0.0},
    )

    assert MNISTPredictor(strict).predict(digit_png(3)).verdict == "not a digit"


# ---- Numbers of several digits -------------------------------------------------------------------


@pytest.fixture
def write_page(handwriting: Handwriting) -> Page:
    """Return a function that writes lines of digits that the tiny network knows, black on white."""

    def write(*lines: str, gap: int = 14, size: int = 64) -> np.ndarray:
        height, width = size * 3 // 2, max(map(len, lines)) * (size + gap) + 2 * size
        page = np.full((len(lines) * height + size, width), 255, np.uint8)
        for row, line in enumerate(lines):
            left = size // 2
            for digit in line:
                ink = typical(handwriting, int(digit), size)
                top = row * height + size // 2
                page[top : top + size, left : left + ink.shape[1]] = 255 - ink
                left += ink.shape[1] + gap
        return page

    return write


def typical(handwriting: Handwriting, digit: int, size: int) -> np.ndarray:
    """Return the most typical picture of a digit, cut out and `size` pixels high."""
    images = handwriting.images[handwriting.labels == digit]
    image = images[np.square(images - images.mean(axis=0)).sum(axis=(1, 2)).argmin()]
    rows, columns = np.nonzero(image > 0.3)
    ink = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    width = max(6, round(ink.shape[1] * size / ink.shape[0]))
    return (cv2.resize(ink, (width, size), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(
        np.uint8
    )


@pytest.mark.parametrize("text", ["7", "40", "271", "906213", "3504827"])
def test_a_number_is_read_from_left_to_right(
    tiny_predictor: MNISTPredictor, write_page: Page, text: str
) -> None:
    reading = tiny_predictor.read(write_page(text))

    assert reading.lines == [text]
    assert reading.text == text
    assert [digit.prediction.digit for digit in reading.digits] == [int(each) for each in text]
    lefts = [digit.box[0] for digit in reading.digits]
    assert lefts == sorted(lefts)


def test_several_lines_are_read_from_top_to_bottom(
    tiny_predictor: MNISTPredictor, write_page: Page
) -> None:
    reading = tiny_predictor.read(write_page("274", "60", "3142"))

    assert reading.lines == ["274", "60", "3142"]
    assert reading.text == "274\n60\n3142"
    assert [len(row) for row in reading.rows] == [3, 2, 4]


def test_each_digit_comes_with_its_box_in_the_picture(
    tiny_predictor: MNISTPredictor, write_page: Page
) -> None:
    page = write_page("41")

    boxes = [digit.box for digit in tiny_predictor.read(page).digits]

    ink = np.argwhere(page < 128)
    assert min(box[0] for box in boxes) == pytest.approx(ink[:, 1].min(), abs=4)
    assert max(box[2] for box in boxes) == pytest.approx(ink[:, 1].max() + 1, abs=4)
    assert all(box[1] < 64 < box[3] for box in boxes)


def test_a_number_is_the_same_in_either_polarity_and_every_form(
    tiny_predictor: MNISTPredictor, write_page: Page, tmp_path: Path
) -> None:
    page = write_page("27403")
    path = tmp_path / "page.png"
    Image.fromarray(page).save(path)

    forms = [page, 255 - page, path, str(path), path.read_bytes(), Image.open(path)]

    assert [tiny_predictor.read(form).text for form in forms] == ["27403"] * len(forms)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_page_is_turned_as_asked(
    tiny_predictor: MNISTPredictor, write_page: Page, turn: int
) -> None:
    lying = np.ascontiguousarray(np.rot90(write_page("27403"), -turn // 90))

    reading = tiny_predictor.read(lying, turn=turn)

    assert (reading.text, reading.turn) == ("27403", turn)


def answering(*shares: float | None, count: int) -> Callable[..., Reading]:
    """Return a stand-in that reads `count` digits, of which a share is sure, for each quarter turn.

    Where the share is None, it finds nothing to read.
    """

    def read(picture: object, turn: int) -> Reading:
        share = shares[turn // 90]
        if share is None:
            raise BlankImageError
        sure = round(count * share)
        row = tuple(found("ok" if place < sure else "unsure") for place in range(count))
        return Reading((row,), (), "unsure", "", turn)

    return read


@pytest.mark.parametrize(
    ("shares", "count", "turn"),
    [
        ((0.9, 1.0, 1.0, 1.0), 10, 0),  # good enough as it is
        ((0.4, 1.0, 0.5, 0.4), 10, 90),
        ((0.4, 0.4, 0.5, 0.9), 10, 270),
        ((0.4, None, 1.0, None), 10, 180),
        ((0.4, None, None, None), 10, 0),
        ((0.4, 0.8, 0.5, 0.4), 10, 0),  # nothing makes good sense
        ((0.4, 1.0, 0.5, 0.4), 5, 0),  # few digits may read either way
        ((0.4, 1.0, 0.5, 0.4), 201, 0),  # so many would take seconds
    ],
)
def test_a_page_is_turned_by_itself_only_if_that_makes_good_sense(
    tiny_predictor: MNISTPredictor,
    write_page: Page,
    monkeypatch: pytest.MonkeyPatch,
    shares: tuple[float | None, ...],
    count: int,
    turn: int,
) -> None:
    monkeypatch.setattr(tiny_predictor, "_read_turned", answering(*shares, count=count))

    assert tiny_predictor.read(write_page("1")).turn == turn


@pytest.mark.parametrize("turn", [45, -90, 360, "left", None, 0.5])
def test_a_turn_that_cannot_be_made_is_refused(
    tiny_predictor: MNISTPredictor, write_page: Page, turn: object
) -> None:
    with pytest.raises(SettingsError, match="choose auto, 0, 90, 180 or 270"):
        tiny_predictor.read(write_page("1"), turn=turn)


def test_a_page_without_ink_is_blank_and_what_is_no_picture_an_error(
    tiny_predictor: MNISTPredictor,
) -> None:
    with pytest.raises(BlankImageError):
        tiny_predictor.read(np.full((90, 200), 255, np.uint8))
    with pytest.raises(ImageError):
        tiny_predictor.read(b"not a picture")


@pytest.mark.parametrize(
    ("strokes", "marks"),
    [
        ([], 0),
        ([[(139, 92), (139, 92)]], 1),  # a decimal point
        ([[(139, 92), (134, 108)]], 1),  # a comma
        ([[(139, 50), (139, 50)], [(139, 85), (139, 85)]], 2),  # a colon
        ([[(2, 62), (26, 60)]], 1),  # a minus
        ([[(146, 4), (112, 112)]], 1),  # a slash
    ],
    ids=["nothing", "point", "comma", "colon", "minus", "slash"],
)
def test_a_sign_in_a_number_is_left_out_and_makes_it_unsure(
    strokes: list[list[tuple[int, int]]], marks: int
) -> None:
    hand = Hand(width=4.0)
    sheet = np.zeros((140, 300), np.uint8)
    for left, digit in ((40, 3), (160, 2)):
        ink = crop(draw_digit(digit, np.random.default_rng(1), size=80, hand=hand))
        tall, wide = ink.shape
        sheet[96 - tall : 96, left : left + wide] = ink
    for start, *_, end in strokes:
        cv2.line(sheet, start, end, 255, 6, cv2.LINE_AA)

    reading = MNISTPredictor().read(255 - sheet)

    assert reading.text == "32"
    assert [mark.prediction.verdict for mark in reading.left_out] == [NONE] * marks
    assert reading.verdict == (UNSURE if marks else OK)


@pytest.mark.parametrize("apart", [0, 12, 40])
def test_a_number_is_read_in_the_boxes_of_a_form(apart: int) -> None:
    hand, side = Hand(width=4.0), 110
    sheet = np.zeros((190, 4 * (side + apart) + 80), np.uint8)
    for place, digit in enumerate((3, 2, 5, None)):
        left = 40 + place * (side + apart)
        cv2.rectangle(sheet, (left, 40), (left + side, 40 + side), 255, 3)
        if digit is not None:
            ink = crop(draw_digit(digit, np.random.default_rng(1), size=80, hand=hand))
            tall, wide = ink.shape
            sheet[58 : 58 + tall, left + 30 : left + 30 + wide] = ink

    assert MNISTPredictor().read(255 - sheet).text == "325"


@pytest.fixture
def tiny_reader(monkeypatch: pytest.MonkeyPatch, tiny_predictor: MNISTPredictor) -> None:
    """Let the command line use the tiny network."""
    monkeypatch.setattr(predict, "MNISTPredictor", lambda *_, **__: tiny_predictor)


@pytest.mark.usefixtures("tiny_reader")
def test_the_command_line_prints_a_row_for_each_line_of_a_number(
    write_page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.png"
    Image.fromarray(write_page("274", "3142")).save(path)

    code = main(["--number", str(path), str(tmp_path / "none.png")])

    rows = capsys.readouterr().out.splitlines()
    assert code == 1
    assert len(rows) == 4
    assert re.fullmatch(rf"{re.escape(str(path))} +ok +\d+\.\d% +274", rows[1])
    assert rows[2].split() == ["3142"]
    assert "none.png: no such file" in rows[3]


def test_the_table_of_numbers_says_what_was_turned_and_where_nothing_was_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    turned = Reading(((found(OK), found(OK, 4)),), (), UNSURE, "so so", 90)
    empty = Reading((), (found(NONE),), NONE, "nothing here", 0)

    predict._print_numbers([("a.png", turned), ("b.png", empty)])

    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert rows[1][1].split("  ")[-1] == "so so; turned by 90 degrees"
    assert rows[2][1].split() == ["not", "a", "digit", "-", "-", "nothing", "here"]


@pytest.mark.usefixtures("tiny_reader")
def test_the_command_line_prints_numbers_as_json(
    write_page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.png"
    Image.fromarray(np.ascontiguousarray(np.rot90(write_page("27403")))).save(path)

    code = main(["--number", "--turn", "270", "--json", str(path), str(tmp_path / "none.png")])

    rows = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (rows[0]["text"], rows[0]["turn"]) == ("27403", 270)
    assert rows[1]["verdict"] == "error"


def test_without_pictures_the_command_line_shows_a_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--number"]) == 0

    assert "0123456789" in capsys.readouterr().out
