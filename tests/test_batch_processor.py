from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import batch_processor
import batch_progress
from batch_processor import BatchProcessor, describe, main
from batch_rows import Results, RowStore
from errors import DataNotFoundError, DigitError, OutputError
from model import FORWARD_BATCH

pytestmark = pytest.mark.long

PROJECT = Path(batch_processor.__file__).parent


def test_a_batch_is_what_the_network_reads_at_once() -> None:
    assert batch_processor.BATCH_SIZE == FORWARD_BATCH


@pytest.fixture
def pictures(digit_png, tmp_path) -> Path:
    """Return a folder with twelve digits in folders named by them, two bad files and a text."""
    for number in range(12):
        digit_png(number % 5, name=f"pictures/{number % 5}/{number:02}.png", size=60, number=number)
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    Image.new("L", (20, 20), 255).save(tmp_path / "pictures" / "blank.png")
    (tmp_path / "pictures" / "notes.txt").write_text("buy milk", encoding="utf-8")
    return tmp_path / "pictures"


@pytest.fixture
def processor(tiny_predictor, tmp_path) -> BatchProcessor:
    """Return a processor with the tiny network, without worker processes."""
    return BatchProcessor(tiny_predictor, output=tmp_path / "out", workers=0, progress=False)


def comparable(results: Results) -> list[dict]:
    """Return rows without the one value that differs from run to run."""
    return [{**row, "seconds": None} for row in results]


def test_the_example_works_as_written(pictures, models_folder, tmp_path):
    """Three plain lines, without a guard for child processes, in a folder of the user's own."""
    script = tmp_path / "mine.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from batch_processor import BatchProcessor\n"
        f"processor = BatchProcessor({str(models_folder / 'mnist_cnn_best.pth')!r})\n"
        'results = processor.process_folder("./pictures/")\n'
        "processor.save_results_csv()\n"
        "processor.save_results_json()\n"
        "processor.print_summary()\n",
        encoding="utf-8",
    )

    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("14 pictures: ")
    (folder,) = (tmp_path / "predictions" / "reports").iterdir()
    assert {path.name for path in folder.iterdir()} == {"results.csv", "results.json"}
    assert len(json.loads((folder / "results.json").read_text(encoding="utf-8"))) == 14


def test_every_input_has_one_row_in_a_stable_order(processor, pictures):
    results = processor.process_folder(pictures)

    paths = [Path(row["path"]).relative_to(pictures).as_posix() for row in results]
    assert paths[:2] == ["blank.png", "empty.png"]
    assert len(paths) == len(set(paths)) == 14
    assert paths == sorted(paths, key=lambda path: (path.count("/"), path))
    assert list(results.skipped()) == [
        (str(pictures / "notes.txt"), "not a picture in a known format; save it as PNG or JPEG")
    ]


def test_subfolders_are_left_out_of_a_run_on_request(tiny_predictor, pictures, tmp_path):
    options = {"output": tmp_path / "out", "workers": 0, "progress": False}

    results = BatchProcessor(tiny_predictor, recursive=False, **options).process(pictures)

    assert {Path(row["path"]).parent for row in results} == {pictures}


def test_a_run_keeps_a_diary_of_its_errors_and_of_how_it_ended(processor, pictures):
    stop_after(processor, pictures, inputs=5)
    results = processor.process_folder(pictures, resume=True)

    diary = results.path.with_name("run.log").read_text(encoding="utf-8")
    assert diary.count(" begin") == 2
    assert "ended by Killed" in diary
    assert "empty.png: the file is empty" in diary
    assert diary.rstrip().endswith(" end")


def test_rows_agree_with_the_predictor(processor, pictures, tiny_predictor):
    results = processor.process_folder(pictures)

    for row in results:
        if row["status"] in ("ok", "unsure"):
            prediction = tiny_predictor.predict(row["path"])
            assert row["digit"] == prediction.digit
            assert row["confidence"] == pytest.approx(prediction.confidence, abs=1e-5)
            probabilities = [row[f"p{digit}"] for digit in range(10)]
            assert probabilities == pytest.approx(prediction.probabilities.tolist(), abs=1e-5)
            assert (row["width"], row["height"]) == (60, 60)
            assert row["model_version"] == tiny_predictor.checkpoint.version


def test_bad_files_are_rows_with_a_reason_and_no_digit(processor, pictures):
    blank, empty = processor.process_folder(pictures)[:2]

    assert (blank["status"], blank["digit"]) == ("not a digit", None)
    assert (empty["status"], empty["digit"]) == ("error", None)
    assert "blank" in blank["reason"]
    assert "empty" in empty["reason"]


def test_the_rows_are_the_same_with_any_number_of_workers(pictures, tiny_predictor, tmp_path):
    rows = []
    for workers in (0, 1, 3):
        processor = BatchProcessor(
            tiny_predictor, output=tmp_path / "out", workers=workers, progress=False
        )
        rows.append(comparable(processor.process_folder(pictures)))

    assert rows[0] == rows[1] == rows[2]


def test_a_second_run_does_not_mix_with_the_first(processor, pictures):
    first = processor.process_folder(pictures)
    second = processor.process_folder(pictures)

    assert first.path != second.path
    assert len(first) == len(second) == 14


def test_an_interrupted_run_goes_on_where_it_stopped(processor, pictures, tiny_predictor):
    undisturbed = comparable(processor.process_folder(pictures))
    stopped = stop_after(processor, pictures, inputs=5)
    assert len(stopped) == 4  # one of the five is a text

    results = processor.process_folder(pictures, resume=True)

    assert results.path == stopped.path
    assert comparable(results) == undisturbed
    assert processor.summary()["read_now"] == 14 - 3  # the empty file is tried again


def stop_after(processor: BatchProcessor, folder: Path, *, inputs: int) -> Results:
    """Begin a run that dies, as from kill -9, after so many inputs."""

    class Killed(BaseException):
        pass

    def in_single_rows(answers, size):
        return ([answered] for answered in answers)

    class Mortal(RowStore):
        written = itertools.count()

        def add(self, rows, skipped=()):
            if next(self.written) == inputs:
                raise Killed
            super().add(rows, skipped)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_processor, "_in_batches", in_single_rows)
        patch.setattr(batch_processor, "RowStore", Mortal)
        with pytest.raises(Killed):
            processor.process_folder(folder)
    return processor.results


def test_the_progress_of_a_resumed_run_counts_what_it_reads(processor, pictures, monkeypatch):
    updates = []
    monkeypatch.setattr(
        batch_progress.Progress, "update", lambda _, *numbers: updates.append(numbers)
    )
    processor.process_folder(pictures)
    processor.process_folder(pictures, resume=True)

    done, errors, kept = zip(*updates, strict=True)
    assert (done, errors, kept) == ((15, 15), (1, 1), (0, 13))
    assert processor.summary()["read_now"] == 1  # the empty file is tried again


def test_resuming_notices_changed_new_and_vanished_files(processor, pictures, digit_png):
    processor.process_folder(pictures)
    digit_png(9, name="pictures/0/00.png", size=60)
    digit_png(7, name="pictures/0/01-new.png", size=60)
    (pictures / "1" / "01.png").unlink()

    resumed = comparable(processor.process_folder(pictures, resume=True))
    read_now = processor.summary()["read_now"]
    fresh = comparable(processor.process_folder(pictures))

    assert resumed == fresh
    assert read_now == 3  # the changed, the new, and the empty file, which gave an error


def test_pictures_that_were_away_for_a_while_keep_their_rows(processor, pictures, tmp_path):
    """Going on while only a note was left in the folder threw the rows of all pictures away."""
    before = list(processor.process_folder(pictures))
    pictures.rename(tmp_path / "away")
    pictures.mkdir()
    (pictures / "notes.txt").write_text("back soon", encoding="utf-8")
    with pytest.raises(DataNotFoundError, match="no picture there"):
        processor.process_folder(pictures, resume=True)
    shutil.rmtree(pictures)
    (tmp_path / "away").rename(pictures)

    after = list(processor.process_folder(pictures, resume=True))

    assert [row for row in after if row["status"] != "error"] == [
        row for row in before if row["status"] != "error"
    ]
    assert processor.summary()["read_now"] == 1  # the empty file is tried again


def test_rows_of_a_list_are_kept_while_its_pictures_are_away(processor, pictures, tmp_path):
    """Each of its files became an error then, and the rows of before were forgotten."""
    names = sorted(pictures.glob("4/*.png"))
    (tmp_path / "list.txt").write_text("\n".join(map(str, names)), encoding="utf-8")
    before = list(processor.process(tmp_path / "list.txt"))
    pictures.rename(tmp_path / "away")
    gone = list(processor.process(tmp_path / "list.txt", resume=True))
    (tmp_path / "away").rename(pictures)

    after = list(processor.process(tmp_path / "list.txt", resume=True))

    assert {row["status"] for row in gone} == {"error"}
    assert after == before
    assert processor.summary()["read_now"] == 0


@pytest.mark.parametrize("numbers", [False, True])
def test_an_earlier_row_takes_the_label_of_today(pictures, tiny_predictor, tmp_path, numbers):
    processor = BatchProcessor(
        tiny_predictor, output=tmp_path / "out", workers=0, progress=False, numbers=numbers
    )
    table = tmp_path / "labels.csv"
    picture = next(pictures.glob("4/*.png"))
    table.write_text(f"path,label\n{picture},4\n", encoding="utf-8")
    (before,) = processor.process(table)
    table.write_text(f"path,label\n{picture},7\n", encoding="utf-8")

    (after,) = processor.process(table, resume=True)

    seven = "7" if numbers else 7
    assert after == before | {"label": seven}  # with `seconds` as before: it was not read anew


@pytest.mark.parametrize(
    ("where", "spelled"),
    [
        pytest.param(".", "pictures", id="a folder"),
        pytest.param("pictures", ".", id="the folder itself"),
        pytest.param(".", "./pictures/*/*.png", id="a pattern"),
        pytest.param(".", "pictures/**/*.png", id="a pattern with any number of folders"),
        pytest.param(".", "lists/list.txt", id="a list"),
        pytest.param("lists", "list.txt", id="a list beside"),
        pytest.param(".", "scans.zip", id="a zip"),
    ],
)
def test_rows_are_kept_where_the_same_source_is_spelled_in_another_way(
    processor, pictures, tmp_path, monkeypatch, where, spelled
):
    """The run was found by the place, but none of its rows, so that all was read again."""
    names = [*pictures.glob("[0-9]/*.png")]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.txt").write_text(
        "".join(f"../pictures/{name.relative_to(pictures)}\n" for name in names), encoding="utf-8"
    )
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        for name in names:
            archive.write(name, name.relative_to(pictures))
    monkeypatch.chdir(tmp_path / where)
    before = list(processor.process(spelled))
    errors = sum(row["status"] == "error" for row in before)

    after = list(processor.process(Path(spelled).absolute(), resume=True))
    assert processor.summary()["read_now"] == errors
    assert all(Path(row["path"]).is_absolute() for row in after)
    again = list(processor.process(spelled, resume=True))

    assert processor.summary()["read_now"] == errors
    assert [row["path"] for row in again] == [row["path"] for row in before]
    assert len(list((processor.output / "logs").iterdir())) == 1


@pytest.mark.parametrize("spelled", [["list.txt", "{}/list.txt"], ["{}/list.txt", "list.txt"]])
def test_files_that_a_list_names_in_full_keep_their_rows_too(
    processor, pictures, tmp_path, monkeypatch, spelled
):
    pictures_named = "".join(f"{name}\n" for name in pictures.glob("[0-9]/*.png"))
    (tmp_path / "list.txt").write_text(pictures_named, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    first, again = (each.format(tmp_path) for each in spelled)
    processor.process(first)
    errors = processor.summary()["error"]

    processor.process(again, resume=True)

    assert processor.summary()["read_now"] == errors


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_resuming_an_archive_goes_by_the_content_of_its_files(processor, handwriting, kind):
    """Another picture of the same name, size and time kept the answer of the one before."""
    one, two, three = (
        b"P5 28 28 255 " + np.uint8(255 * image).tobytes() for image in handwriting.images[:3]
    )
    path = processor.output.parent / f"scans.{kind}"
    pack(path, one, two)
    first = comparable(processor.process(path))

    again = comparable(processor.process(path, resume=True))
    pack(path, two, three)
    changed = comparable(processor.process(path, resume=True))
    read_now = processor.summary()["read_now"]

    assert again == first
    assert changed[0] == first[1]
    assert changed[1] not in first
    assert read_now == 1


def pack(path: Path, *contents: bytes) -> None:
    """Pack files of one name and one time into a zip or a tar."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for content in contents:
                archive.writestr(zipfile.ZipInfo("scan.pgm"), content)
        return
    with tarfile.open(path, "w") as archive:
        for content in contents:
            info = tarfile.TarInfo("scan.pgm")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_a_file_of_the_far_future_is_read_and_its_changes_are_noticed(processor, pictures):
    """SQLite keeps 64 bits of nanoseconds: one file of the year 2300 ended the whole batch."""
    read_now = []
    for date in (10_413_792_000, 10_413_792_000, 10_413_792_001):
        os.utime(pictures / "0" / "00.png", (date, date))

        processor.process_folder(pictures, resume=True)

        read_now.append(processor.summary()["read_now"])
    assert read_now == [14, 1, 2]  # what gave an error is always read anew


def test_a_giant_in_an_archive_costs_no_other_picture(processor, pictures):
    path = pack_giant(pictures.with_name("giant.zip"), pictures / "1" / "01.png")

    results = processor.process(path)

    assert [row["status"] == "error" for row in results] == [True, False]
    assert "at most" in results[0]["reason"]


def pack_giant(path: Path, picture: Path) -> Path:
    """Pack a picture twice; of the first, the directory says that it has 2**64 - 1 bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(picture, "giant.png")
        archive.write(picture, "scan.png")
        archive.infolist()[0].file_size = 2**64 - 1
    return path


def test_resuming_leaves_no_file_of_before_beside_the_new_ones(processor, pictures):
    """An older results.csv stood beside a summary that counted other pictures."""
    processor.process_folder(pictures)
    reports = processor._last_run().reports
    for form in ("csv", "jsonl"):
        processor.save(form)
    processor.save_report()
    for name in ("submission.csv", "review.csv"):
        (reports / name).write_text("7")
    (reports / ".results-0123abcd.csv").write_text("half")  # what kill -9 leaves
    before = {path.name for path in reports.iterdir()}
    (pictures / "notes.txt").unlink()

    processor.process_folder(pictures, resume=True)
    processor.save("json")
    processor.save_report()

    assert {"results.csv", "results.jsonl", "skipped.csv"} < before
    assert {path.name for path in reports.iterdir()} == {
        "results.json", "report.html", "summary.json", "review.csv"
    }  # fmt: skip


@pytest.fixture
def other_models(tmp_path) -> Path:
    """Return a models folder with another network, and a copy of the shared tiny one."""
    from model import build_model
    from registry import save_checkpoint

    save_checkpoint(tmp_path / "models" / "other.pth", build_model("mlp"))
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("before", "now", "read_now"),
    [
        pytest.param({}, {}, 1, id="nothing else: only the empty file is tried again"),
        pytest.param({}, {"model": "other"}, 14, id="other weights"),
        pytest.param({}, {"model": "copy"}, 1, id="a copy of the same weights"),
        pytest.param({}, {"with_hash": True}, 14, id="checksums"),
        pytest.param({"with_hash": True}, {"with_hash": True}, 1, id="checksums again"),
        pytest.param({}, {"labels": "names"}, 1, id="labels from names"),
        pytest.param({"labels": "names"}, {"labels": "none"}, 1, id="no labels any more"),
        pytest.param({}, {"recursive": False}, 1, id="without subfolders"),
        pytest.param({"recursive": False}, {}, 13, id="with subfolders"),
        pytest.param({"numbers": True}, {}, 14, id="digits: a run of its own"),
        pytest.param({}, {"workers": 1}, 1, id="workers"),
    ],
)
def test_resuming_with_other_options_gives_the_table_of_a_new_run_with_them(
    pictures, other_models, models_folder, tmp_path, before, now, read_now
):
    shutil.copy(models_folder / "mnist_cnn.pth", other_models / "copy.pth")

    def make(output: str, *, model: str = "", **options) -> BatchProcessor:
        path = other_models / f"{model}.pth" if model else models_folder / "mnist_cnn.pth"
        options = {"workers": 0, "device": "cpu", **options}
        return BatchProcessor(path, output=tmp_path / output, progress=False, **options)

    make("out", **before).process(pictures)
    resumed = make("out", **now)
    rows = comparable(resumed.process(pictures, resume=True))

    assert rows == comparable(make("anew", **now).process(pictures))
    assert resumed.summary()["read_now"] == read_now


def test_resuming_without_the_checksums_of_before_is_refused_and_changes_nothing(
    pictures, models_folder, tmp_path, capsys
):
    """The new rows had none, beside old ones that had."""
    model = str(models_folder / "mnist_cnn_best.pth")
    command = [str(pictures), "--model", model, "--output", str(tmp_path / "out"), "--workers", "0"]
    main([*command, "--sha256", "--quiet"])
    before = {path: path.read_bytes() for path in tmp_path.glob("out/*/*/*")}
    capsys.readouterr()

    code = main([*command, "--resume", "--quiet"])

    assert code == 2
    assert "add --sha256" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.glob("out/*/*/*")} == before


def test_resuming_another_folder_begins_a_new_run(processor, pictures, digit_png, tmp_path):
    first = processor.process_folder(pictures)
    digit_png(3, name="elsewhere/3.png")

    results = processor.process_folder(tmp_path / "elsewhere", resume=True)

    assert results.path != first.path
    assert (len(first), len(results)) == (14, 1)


def test_standard_input_is_not_gone_on_with_so_that_no_other_list_loses_its_rows(
    processor, pictures, models_folder, tmp_path, monkeypatch, capsys
):
    """Every pipe was the same source: --resume with another list replaced the rows of the first."""
    names = b"".join(os.fsencode(path) + b"\n" for path in sorted(pictures.glob("*/*.png")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    first = processor.process("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.splitlines()[0])))
    model = str(models_folder / "mnist_cnn_best.pth")

    code = main(["-", "--resume", "--model", model, "--output", str(processor.output)])

    assert code == 2
    assert "list.txt" in capsys.readouterr().err
    assert len(first) == 12


@pytest.mark.parametrize(
    ("kind", "hint"), [("folder", "with --resume goes on"), ("stdin", "save the names as a file")]
)
def test_what_an_interrupted_run_advises_works_for_its_source(processor, pictures, kind, hint):
    processor.process_folder(pictures)

    text = describe(processor.summary() | {"interrupted": True, "kind": kind}, Path("reports"))

    assert hint in text


def test_a_name_with_a_line_break_is_no_line_of_the_summary(processor, pictures):
    (pictures / "empty.png").rename(pictures / "new\nline.png")

    processor.process_folder(pictures)

    lines = describe(processor.summary(), Path("reports")).splitlines()
    (diary,) = processor.output.rglob("run.log")
    for written in (lines, diary.read_text(encoding="utf-8").splitlines()):
        assert any(r"new\nline.png" in line for line in written)


def test_known_digits_give_an_accuracy_and_the_worst_mistakes(processor, pictures, digit_png):
    digit_png(2, name="pictures/4/wrong.png", size=60)

    processor.process_folder(pictures)

    summary = processor.summary()
    assert summary["labelled"] == 13
    assert summary["correct"] == 12
    assert summary["confusion"][4][2] == 1
    assert [Path(row["path"]).name for row, _ in processor.results.worst_mistakes(5)] == [
        "wrong.png"
    ]


def test_ctrl_c_finishes_the_rows_in_flight_and_says_how_to_go_on(
    pictures, models_folder, tmp_path
):
    """A list that would take minutes is stopped by one signal, from outside."""
    picture = next(pictures.glob("0/*.png"))
    (tmp_path / "list.txt").write_text(f"{picture}\n" * 200_000, encoding="utf-8")
    command = [sys.executable, str(PROJECT / "batch_processor.py"), "list.txt", "--output", "out"]
    command += ["--model", str(models_folder / "mnist_cnn_best.pth"), "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    while not any(has_rows(path) for path in tmp_path.glob("out/logs/*/rows.sqlite")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "--resume goes on" in output
    assert "stopping" in errors
    (results_csv,) = tmp_path.glob("out/reports/*/results.csv")
    with results_csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows):,} pictures" in output
    assert {row["status"] for row in rows} <= {"ok", "unsure"}


def has_rows(path: Path) -> bool:
    """Whether a run has begun to write: its file grows beyond the empty tables."""
    return path.stat().st_size > 60_000


def test_the_command_line_writes_everything_and_reports_errors_by_its_exit_code(
    pictures, models_folder, tmp_path, capsys
):
    model = str(models_folder / "mnist_cnn_best.pth")
    options = ["--model", model, "--output", str(tmp_path / "out"), "--workers", "0", "--sha256"]

    code = main([str(pictures), *options, "--format", "csv", "jsonl"])

    (folder,) = (tmp_path / "out" / "reports").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "results.csv", "results.jsonl", "report.html", "summary.json", "skipped.csv"
    }  # fmt: skip
    assert code == 1
    printed = capsys.readouterr()
    assert "1 x the file is empty" in printed.out
    assert str(folder) in printed.out
    (pictures / "empty.png").unlink()
    assert main([str(pictures), *options]) == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("has_empty", "code"), [(False, 0), (True, 1)])
def test_a_summary_that_nobody_reads_is_no_failure(
    pictures, models_folder, tmp_path, has_empty, code, unbuffered
):
    """`batch_processor.py my_digits | head -1` ended with 1 after a whole batch."""
    if not has_empty:
        (pictures / "empty.png").unlink()
    command = [sys.executable, str(PROJECT / "batch_processor.py"), str(pictures), "--quiet"]
    command += ["--model", str(models_folder / "mnist_cnn_best.pth"), "--workers", "0"]
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip

    os.close(writer)
    assert (done.returncode, done.stderr) == (code, "")
    assert list(tmp_path.glob("predictions/reports/*/results.csv"))


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["nowhere"], 1, "no such folder"),
        ([".", "--workers", "-1"], 2, "workers"),
        ([".", "--workers", "100000"], 2, "workers 100000"),
        ([".", "--batch-size", "0"], 2, "batch size"),
        ([".", "--number", "--format", "submission"], 2, "without --number"),
        (["-"], 1, "standard input names no file"),
        ([__file__, "--model", "unheard-of"], 1, "unheard-of"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(arguments, code, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))

    assert main(arguments) == code

    assert hint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_a_wrong_option_ends_with_two():
    with pytest.raises(SystemExit) as caught:
        main([".", "--format", "xlsx"])

    assert caught.value.code == 2


def test_without_a_terminal_progress_is_plain_lines(processor, pictures, monkeypatch, capsys):
    monkeypatch.setattr(batch_progress, "PLAIN_PROGRESS_SECONDS", 1e-9)
    processor.progress = True

    processor.process_folder(pictures)

    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("pictures: 15 of ")
    assert "pictures/s" in line
    assert line.endswith("errors=1")
    assert "\r" not in line


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("empty", "empty: no file in it"),
        ("empty.zip", "empty.zip: no file in it"),
        ("empty.txt", "empty.txt: no file in it"),
        ("photos/*/*.png", "no file matches; photos/*/*.* would match 3 other files (.jpg, .webp)"),
        ("photos/*/*.JPG", "no file matches; photos/*/*.* would match 3 other files (.jpg, .webp)"),
        ("photos/*", "no file matches; photos/*/* would match 3 other files (.jpg, .webp)"),
        ("nowhere/*.png", "nowhere/*.png: no file matches; check the names of the folders"),
        ("texts", "texts: no picture there, only 4 other files (.txt, .md, no ending); save"),
        ("texts.zip", "texts.zip: no picture there, only 4 other files (.txt, .md, no ending)"),
        ("texts/*.md", "texts/*.md: no picture there, only 1 other file (.md)"),
    ],
)
def test_a_source_without_a_picture_is_an_error_and_leaves_nothing_behind(
    source, hint, models_folder, digit_png, tmp_path, monkeypatch, capsys
):
    """They were "0 pictures", with a folder of empty reports."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.webp", "c.jpg"):
        digit_png(7, name=f"photos/7/{name}")
    for name in ("a.txt", "b.md", "c.TXT", "README"):
        (tmp_path / "texts" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "texts" / name).write_text("buy milk", encoding="utf-8")
    shutil.make_archive("texts", "zip", "texts")
    (tmp_path / "empty").mkdir()
    zipfile.ZipFile("empty.zip", "w").close()
    (tmp_path / "empty.txt").touch()
    model = str(models_folder / "mnist_cnn_best.pth")

    code = main([source, "--model", model, "--output", "out", "--workers", "0", "--quiet"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (1, "")
    assert hint in printed.err
    assert list(tmp_path.glob("out/*/*")) == []


def test_a_run_that_finds_no_picture_any_more_keeps_what_it_has_found(processor, pictures):
    run = processor.process_folder(pictures).path
    for path in pictures.rglob("*.png"):
        path.unlink()

    with pytest.raises(DataNotFoundError, match=r"only 1 other file \(\.txt\)"):
        processor.process_folder(pictures, resume=True)

    assert run.is_file()


@pytest.mark.parametrize(("number", "words"), [(1, "1 other file left out"), (2, "2 other files")])
def test_one_file_and_many_are_counted_in_the_right_words(
    processor, digit_png, tmp_path, capsys, number, words
):
    digit_png(7, name="pictures/7.png")
    for place in range(number):
        (tmp_path / "pictures" / f"{place}.txt").write_text("buy milk", encoding="utf-8")

    processor.process_folder(tmp_path / "pictures")
    processor.print_summary()

    first, _, others, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("1 picture: ")
    assert others.startswith(words)


def test_an_output_folder_that_cannot_be_made_is_reported_before_the_work(
    tiny_predictor, pictures, tmp_path
):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    processor = BatchProcessor(tiny_predictor, output=tmp_path / "file", workers=0, progress=False)

    with pytest.raises(OutputError, match="choose another"):
        processor.process_folder(pictures)


def test_results_that_cannot_be_written_leave_the_rows_safe(processor, pictures, tmp_path):
    processor.process_folder(pictures)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")

    with pytest.raises(OutputError, match="rows are safe in"):
        processor.save_results_csv(tmp_path / "file" / "results.csv")

    assert len(processor.results) == 14


@pytest.mark.parametrize(
    "use",
    [
        lambda processor: processor.save_results_csv(),
        lambda processor: processor.print_summary(),
        lambda processor: processor.process_folder("nowhere"),
        lambda processor: processor.process_folder(__file__),
        lambda processor: processor.save("xlsx"),
        lambda processor: BatchProcessor(engine="spark"),
    ],
)
def test_wrong_use_is_said_in_words(processor, use):
    with pytest.raises(DigitError, match=r"process_folder|no such folder|choose one of"):
        use(processor)


def test_kaggles_test_file_becomes_a_submission(processor, handwriting, tmp_path):
    pixels = np.rint(handwriting.images[:20] * 255).astype(int).reshape(20, 784)
    header = ",".join(f"pixel{i}" for i in range(784))
    np.savetxt(tmp_path / "test.csv", pixels, "%d", ",", header=header, comments="")

    processor.process(tmp_path / "test.csv")
    lines = processor.save("submission").read_text(encoding="utf-8").split()

    assert lines[0] == "ImageId,Label"
    assert [line.split(",")[0] for line in lines[1:]] == [str(n) for n in range(1, 21)]
    labels = [int(line.split(",")[1]) for line in lines[1:]]
    assert np.mean(labels == handwriting.labels[:20]) > 0.9


def test_a_submission_that_cannot_be_made_leaves_everything_else(
    pictures, models_folder, tmp_path, capsys
):
    model = str(models_folder / "mnist_cnn_best.pth")
    options = ["--model", model, "--output", str(tmp_path / "out"), "--workers", "0"]

    code = main([str(pictures), *options, "--format", "submission", "csv"])

    (folder,) = (tmp_path / "out" / "reports").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names == {"results.csv", "report.html", "summary.json", "skipped.csv"}
    assert code == 1
    printed = capsys.readouterr()
    assert "14 pictures" in printed.out
    assert "empty.png" in printed.err


@pytest.mark.parametrize(("seconds", "sizes"), [(600, [2, 2, 1]), (-1, [1, 1, 1, 1, 1])])
def test_a_batch_is_full_or_as_old_as_may_be_lost(monkeypatch, seconds, sizes):
    monkeypatch.setattr(batch_processor, "FLUSH_SECONDS", seconds)

    assert [len(batch) for batch in batch_processor._in_batches(range(5), 2)] == sizes


def test_importing_the_module_starts_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import batch_processor"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
