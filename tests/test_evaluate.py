"""One command measures any model on any pictures, counts nothing twice and loses none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import evaluate as module
from batch_input import Input
from dataset import load_mnist
from errors import OutputError
from evaluate import (
    Outcome,
    choose_cards,
    evaluate,
    format_metrics,
    main,
    measure_forms,
    measure_robustness,
    read_samples,
    summarise,
)
from hands import NOT_A_DIGIT
from predict import MNISTPredictor
from samples import Sample, load_samples
from stress import DAMAGES, FORMS

DigitFile = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path, digit_png: DigitFile) -> str:
    """Write a table of five digits, a wrong label, noise, a blank page and a damaged file."""
    for digit in range(5):
        digit_png(digit, name=f"{digit}.png")
    digit_png(8, name="wrong.png")
    digit_png(6, name="blank.png").write_bytes(_png(np.full((64, 64), 255, np.uint8)))
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    (tmp_path / "noise.png").write_bytes(_png(noise))
    rows = [f"{digit}.png,{digit},clean" for digit in range(5)]
    rows += ["wrong.png,1,clean", "blank.png,6,bad", "damaged.png,7,bad", "noise.png,none,bad"]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["file,label,kind", *rows]) + "\n", encoding="utf-8")
    return str(path)


def _png(pixels: np.ndarray) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", pixels)[1])


def test_every_picture_of_a_table_is_counted_once(
    tiny_predictor: MNISTPredictor, table: str, tmp_path: Path
) -> None:
    outcomes = read_samples(tiny_predictor, load_samples(table, tmp_path, groups=["kind"]))

    found = summarise(outcomes)

    assert (found["pictures"], found["digits"], found["non_digits"]) == (9, 8, 1)
    # Wrong label, blank and damaged: a digit that could not be read was not read.
    assert (found["accuracy"]["count"], found["accuracy"]["of"]) == (5, 8)
    assert sum(map(sum, found["confusion"])) == 6
    assert found["confusion"][1][8] == 1
    assert found["verdicts"]["digits"]["error"] == 1
    assert found["verdicts"]["digits"]["not a digit"] >= 1
    assert sum(found["verdicts"]["digits"].values()) == 8
    assert sum(found["verdicts"]["non_digits"].values()) == 1
    rows = {row["name"]: row for row in found["groups"]["kind"]}
    assert (rows["clean"]["accuracy"]["count"], rows["clean"]["pictures"]) == (5, 6)
    assert (rows["bad"]["accuracy"]["of"], rows["bad"]["pictures"]) == (2, 3)
    assert [row["name"] for row in found["classes"]] == [*"01234", "6", "7", "none"]
    assert found["coverage"][-1]["coverage"] == 1.0
    assert found["coverage"][-1]["accuracy"] == pytest.approx(5 / 8)


def test_what_should_be_looked_at_is_under_its_heading(
    tiny_predictor: MNISTPredictor, table: str, tmp_path: Path
) -> None:
    outcomes = read_samples(tiny_predictor, load_samples(table, tmp_path))

    cards = choose_cards(outcomes)

    names = {heading: [card.name for card in some] for heading, some in cards.items()}
    assert names["Misread: 1"] == ["wrong.png"]
    assert set(names["Not read at all: 2"]) == {"blank.png", "damaged.png"}


def test_what_could_not_be_read_is_shown_if_it_is_damaged_or_a_digit() -> None:
    sheet = Input("sheet.png", data=b"")
    outcomes = [
        Outcome(Sample(sheet, label), None, verdict, "")
        for label in (5, NOT_A_DIGIT)
        for verdict in ("not a digit", "error")
    ]

    cards = choose_cards(outcomes)["Not read at all: 3"]

    assert [(card.shows, card.note) for card in cards] == [
        ("5", "not a digit"),
        ("5", "error"),
        ("none", "error"),
    ]


def test_cards_are_chosen_without_comparing_all_pictures_with_all(
    tiny_predictor: MNISTPredictor, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 10,000 pictures that took 20 seconds."""

    def refuse(*_: object) -> bool:
        raise AssertionError("one picture was compared with another")

    outcomes = read_samples(tiny_predictor, load_samples(table, tmp_path))
    monkeypatch.setattr(Outcome, "__eq__", refuse)

    assert sum(map(len, choose_cards(outcomes).values())) == 3


def test_worker_processes_change_no_answer(
    tiny_predictor: MNISTPredictor, table: str, tmp_path: Path
) -> None:
    samples = load_samples(table, tmp_path)

    alone = read_samples(tiny_predictor, samples)
    helped = read_samples(tiny_predictor, samples, workers=1)

    assert [o.verdict for o in alone] == [o.verdict for o in helped]
    assert [o.confidence for o in alone] == [o.confidence for o in helped]


def test_two_pictures_of_one_digit_make_the_interval_no_narrower(
    tiny_predictor: MNISTPredictor, table: str, tmp_path: Path
) -> None:
    once = read_samples(tiny_predictor, load_samples(table, tmp_path, groups=["kind"]))
    views = [
        dataclasses.replace(
            outcome, sample=dataclasses.replace(outcome.sample, view_of=outcome.sample.name)
        )
        for outcome in once
    ]

    found, expected = summarise([*views, *views]), summarise(once)

    assert (found["accuracy"]["of"], found["accuracy"]["independent"]) == (16, 8)
    for key in ("accuracy", "ok_but_wrong"):
        assert (found[key]["low"], found[key]["high"]) == pytest.approx(
            (expected[key]["low"], expected[key]["high"]), abs=1e-6
        )
    rows = {row["name"]: row["accuracy"] for row in found["groups"]["kind"]}
    assert (rows["clean"]["of"], rows["clean"]["independent"]) == (12, 6)


def test_the_table_says_how_many_digits_the_interval_counts(
    models_folder: Path, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = models_folder / "mnist_cnn_best.pth"
    places = ["--model", str(model), "--data-dir", str(mnist_folder), "--output", str(tmp_path)]

    # So few of all are from everywhere in the set, and no two of one digit.
    code = main(["load_digits", "mnist", "--limit", "5", "--workers", "0", "--run", "r", *places])

    assert code == 0
    assert "pictures of" not in capsys.readouterr().out
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    metrics["sets"]["load_digits"]["accuracy"]["independent"] = 3
    assert "load_digits: 5 pictures of 3 digits" in format_metrics(metrics)


def test_no_pictures_are_no_mistake() -> None:
    found = summarise([])

    assert found["accuracy"]["value"] is None
    assert found["calibration"] == {"error": None, "bins": [], "negative_log_likelihood": None}
    assert found["coverage"] == []
    assert found["roc_auc"] is None


def test_a_note_in_a_labelled_folder_is_left_out(
    tiny_predictor: MNISTPredictor, tmp_path: Path, digit_png: DigitFile
) -> None:
    digit_png(3, name="set/3/a.png")
    (tmp_path / "set" / "3" / "notes.txt").write_text("from the blue folder")

    outcomes = read_samples(tiny_predictor, load_samples(str(tmp_path / "set"), tmp_path))

    assert len(outcomes) == 1


def test_forms_and_damages_are_all_measured(
    tiny_predictor: MNISTPredictor, mnist_folder: Path
) -> None:
    digits = load_mnist("validation", mnist_folder).take(slice(0, 6))

    forms = measure_forms(tiny_predictor, digits)
    robustness = measure_robustness(tiny_predictor, digits)

    assert [row["form"] for row in forms["rows"]] == list(FORMS)
    assert forms["direct"]["of"] == 6
    for row in forms["rows"]:
        points = 100 * (row["accuracy"]["value"] - forms["direct"]["value"])
        assert row["points"] == pytest.approx(points, abs=1e-3)
    assert forms["rows"][0]["accuracy"]["count"] >= 5
    assert robustness["curves"].keys() == DAMAGES.keys()
    for kind, rows in robustness["curves"].items():
        assert [row["amount"] for row in rows] == list(DAMAGES[kind][0])
        assert all(0 <= row[key] <= 1 for row in rows for key in ("accuracy", "network", "ok"))
    last_shift = robustness["curves"]["shift"][-1]
    assert last_shift["accuracy"] > last_shift["network"]  # the reader finds the digit


def test_a_run_leaves_a_report_and_numbers_behind(
    models_folder: Path, mnist_folder: Path, table: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "STRESS_LIMIT", 2)
    command = f"mnist {table} --group kind --limit 6 --forms --robustness --workers 0 --run first"
    model = models_folder / "mnist_cnn_best.pth"
    places = ["--model", str(model), "--data-dir", str(mnist_folder), "--output", str(tmp_path)]

    code = main([*command.split(), *places])

    printed = capsys.readouterr()
    metrics = json.loads((tmp_path / "first" / "metrics.json").read_text())
    assert code == 0
    assert metrics["model"]["name"] == "mnist_cnn_best"
    assert list(metrics["sets"]) == ["mnist", table]
    assert metrics["sets"]["mnist"]["digits"] == 6
    assert metrics["forms"]["pictures"] == 6
    assert metrics["robustness"]["pictures"] == 2
    assert "report.html" in printed.err
    assert (tmp_path / "first" / "report.html").stat().st_size > 10_000
    assert "enlarged to 280" in printed.out
    assert format_metrics(metrics) == printed.out.rstrip("\n")


def test_a_report_is_not_replaced_by_another_of_the_same_name(
    models_folder: Path, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one was gone, and nothing said so."""
    model = models_folder / "mnist_cnn_best.pth"
    places = ["--model", str(model), "--data-dir", str(mnist_folder), "--output", str(tmp_path)]
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "metrics.json").write_text("{}")

    code = main(["mnist", "--limit", "2", "--workers", "0", "--run", "same", *places])

    assert code == 2
    assert "--run same" in capsys.readouterr().err
    assert (tmp_path / "same" / "metrics.json").read_text() == "{}"


def test_the_surest_mistakes_come_first_and_too_many_are_cut(
    tiny_predictor: MNISTPredictor, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOWN", 5)
    samples = [
        Sample(sample.input, (sample.label + 1) % 10)
        for sample in load_samples("mnist", mnist_folder)
    ]

    outcomes = read_samples(tiny_predictor, samples)
    (heading, cards), *_ = choose_cards(outcomes).items()

    assert heading.endswith("(the first 5)")
    shown = [float(card.answer.split()[-1].rstrip("%")) for card in cards]
    assert shown == sorted(shown, reverse=True)
    assert len(cards) == 5


def test_non_digits_that_pass_for_digits_are_shown(
    tiny_predictor: MNISTPredictor, digit_png: DigitFile
) -> None:
    path = digit_png(0)
    sample = Sample(Input("letter O.png", str(path), is_listed=True), NOT_A_DIGIT)

    outcomes = read_samples(tiny_predictor, [sample])
    found = summarise(outcomes)

    assert found["verdicts"]["non_digits"]["ok"] == 1
    assert [c.name for c in choose_cards(outcomes)["Not a digit, yet taken for one: 1"]] == [
        "letter O.png"
    ]


def test_a_wrong_name_is_found_before_anything_is_read(
    tiny_predictor: MNISTPredictor, mnist_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "read_samples", lambda *_, **__: pytest.fail("read too early"))

    with pytest.raises(FileNotFoundError, match="no such folder"):
        evaluate(tiny_predictor, ["mnist", "nowhere"], folder=tmp_path, data_folder=mnist_folder)


def test_what_is_made_is_made_within_the_same_limits_as_it_is_read(
    tiny_predictor: MNISTPredictor, mnist_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    limits = []

    def find(what: str, *_: object, limit: int, workers: int, **__: object) -> list[Sample]:
        limits.append((what, limit, workers))
        return load_samples("mnist", mnist_folder, limit=2)

    monkeypatch.setattr(module, "load_samples", find)

    evaluate(
        tiny_predictor, ["hands"], folder=tmp_path, data_folder=mnist_folder, limit=30, workers=2
    )

    assert limits == [("hands", 30, 2)]


def test_a_place_that_cannot_be_written_is_refused_before_any_picture_is_made_or_read(
    tiny_predictor: MNISTPredictor, mnist_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Everything was measured, for an hour maybe, and all that came out was "cannot write"."""
    (tmp_path / "outputs").write_text("in the way")
    monkeypatch.setattr(module, "load_samples", lambda *_, **__: pytest.fail("made too early"))

    with pytest.raises(OutputError, match=r"outputs.*--output"):
        evaluate(tiny_predictor, folder=tmp_path / "outputs" / "run", data_folder=mnist_folder)


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["--model", "nonsense"], 1, "no model 'nonsense'"),
        (["--workers", "-1"], 2, "workers -1"),
        (["--workers", "100000"], 2, "--workers 100000"),
        (["--run", "../x"], 2, "--run '../x'"),
        (["mnist:exam"], 2, "mnist:validation"),
        (["nowhere"], 1, "nowhere: no such folder or file"),
        (["mnist", "--limit", "-3"], 2, "limit -3"),
        (["mnist", "--group", "kind"], 2, "--group kind"),
        ([".", "hands", "--group", "kind"], 2, "--group kind"),
        (["no table.csv", "--group", "kind"], 1, "no table.csv: no such folder or file"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    models_folder: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, hint: str,
) -> None:  # fmt: skip
    model = ["--model", str(models_folder / "mnist_cnn.pth"), "--data-dir", str(mnist_folder)]

    assert main([*model, *arguments]) == code

    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert hint in printed.err
    assert printed.out == ""
