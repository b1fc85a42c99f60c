"""One predictor: three values to unpack, ten probabilities, the same answer through every call."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from errors import BlankImageError, DigitError, ImageError, ModelNotFoundError
from predict import MNISTPredictor, Prediction, main, measure_doubt
from preprocess import Prepared
from registry import save_checkpoint
from utils import PROJECT

DigitFile = Callable[..., Path]


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


def test_a_batch_gives_the_same_answers_as_single_calls(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    paths = [digit_png(digit, number=number) for digit in range(10) for number in range(2)]

    single = [tiny_predictor.predict(path) for path in paths]
    batched = tiny_predictor.predict_batch(paths, batch_size=7)

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


def test_the_command_line_prints_one_row_for_each_picture(
    digit_png: DigitFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([str(digit_png(7)), str(tmp_path / "none.png"), "--device", "cpu"])

    rows = capsys.readouterr().out.splitlines()
    assert code == 1
    assert len(rows) == 3
    assert "none.png" in rows[2]
    assert "no such file" in rows[2]


def test_the_command_line_prints_json_that_can_be_piped(
    digit_png: DigitFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(digit_png(7))

    code = main([path, "--json"])

    rows = json.loads(capsys.readouterr().out)
    assert code == 0
    assert rows[0]["file"] == path
    assert len(rows[0]["probabilities"]) == 10


def test_without_pictures_the_command_line_shows_what_it_can(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 11


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
        ({4: 0.8, **dict.fromkeys((0, 1, 2, 3, 5), 0.04)}, (0, 0, 20, 28), 0, "unsure",
         "this is an unusual 4"),
        (dict.fromkeys(range(10), 0.1), (0, 0, 20, 28), 0, "not a digit",
         "this does not look like a digit"),
        (dict.fromkeys(range(10), 0.1), (0, 0, 40, 28), 2, "not a digit",
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
