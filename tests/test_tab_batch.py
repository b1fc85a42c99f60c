"""The batch on the page: a row for every file, nothing left behind, nobody sees another's."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import batch_uploads
import tab_batch
from access import Access
from batch_rows import RowStore
from batch_workers import WorkerPool
from encoding import encode_png
from errors import OutputError
from tab_batch import (
    EXAMPLES,
    Shown,
    Stop,
    Stops,
    build_batch_tab,
    read_chosen,
    read_examples,
    read_files,
)

if TYPE_CHECKING:
    from service import Service
    from tests.conftest import Handwriting


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch):
    """Spare most tests the start of a worker process."""
    monkeypatch.setattr(tab_batch, "count_workers", lambda: 0)


@pytest.fixture
def uploads(tmp_path: Path, digit_png: Callable[..., Path]) -> list[str]:
    """Return a digit, a file that is none, and a zip with a digit and what else people pack."""
    (tmp_path / "up").mkdir()
    letter = tmp_path / "up" / "=<b>letter.png"
    letter.write_bytes(b"Dear Sir")
    scans = tmp_path / "up" / "scans.zip"
    with zipfile.ZipFile(scans, "w") as archive:
        archive.write(digit_png(7), "7/a.png")
        archive.writestr("../../secret.png", digit_png(7).read_bytes())
        archive.writestr("notes & <i>.txt", b"no picture")
    return [str(digit_png(3, name="up/three.png")), str(letter), str(scans)]


def finish(steps: Iterator[Shown]) -> tuple[list[Shown], list[dict[str, str]], list[dict]]:
    """Return all steps, and what was in the two files when they were handed over."""
    shown, table, rows = [], [], []
    for step in steps:
        shown.append(step)
        if step.csv and step.json:
            with Path(step.csv).open(encoding="utf-8", newline="") as file:
                table = list(csv.DictReader(file))
            rows = json.loads(Path(step.json).read_text(encoding="utf-8"))
    return shown, table, rows


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_every_file_has_a_row_on_the_page_and_in_both_files(service: Service, uploads: list[str]):
    shown, table, rows = finish(read_files(service, uploads))

    statuses = [(row["path"], row["status"], row["digit"]) for row in rows]
    assert statuses == [
        ("three.png", "ok", 3),
        ("=<b>letter.png", "error", None),
        ("scans.zip/7/a.png", "ok", 7),
        ("scans.zip/../../secret.png", "error", None),
    ]
    assert [row["path"] for row in table][:2] == ["three.png", "'=<b>letter.png"]
    assert [row["digit"] for row in table] == ["3", "", "7", ""]
    text = text_of(shown[-1].page)
    assert "All 4 Sure 2 Unsure 0 Not a digit 0 Not read 2" in text
    assert "not read its name leads out of the archive" in text
    assert "1 other file was left out scans.zip/notes &amp; &lt;i&gt;.txt" in text


def test_names_cannot_put_code_into_the_page(service: Service, uploads: list[str]):
    page = finish(read_files(service, uploads))[0][-1].page

    assert "<b>letter" not in page
    assert "<i>" not in page
    assert "=&lt;b&gt;letter.png" in page


def test_only_pictures_that_were_read_have_a_thumbnail(service: Service, uploads: list[str]):
    page = finish(read_files(service, uploads))[0][-1].page

    lines = page.split("<tr ")[1:]
    assert ['src="data:image/jpeg' in line for line in lines] == [True, False, True, False]


def test_a_batch_reads_as_the_command_line_does(service: Service, uploads: list[str]):
    expected = service.predictor.predict(uploads[0])

    row = finish(read_files(service, uploads))[2][0]

    assert row["digit"] == expected.digit
    assert row["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
    assert row["model_version"] == service.predictor.checkpoint.version


def test_uploads_and_results_are_gone_at_the_end(service: Service, uploads: list[str]):
    shown, _, _ = finish(read_files(service, uploads))

    assert [file for file in uploads if Path(file).exists()] == []
    assert shown[-1].csv is not None
    assert not Path(shown[-1].csv).parent.exists()


def test_a_batch_that_is_stopped_leaves_nothing_behind(
    service: Service, uploads: list[str], monkeypatch: pytest.MonkeyPatch
):
    pools: list[WorkerPool] = []

    class Watched(WorkerPool):
        def __init__(self, workers: int, **options: Any) -> None:
            super().__init__(workers, **options)
            pools.append(self)

    monkeypatch.setattr(tab_batch, "WorkerPool", Watched)
    monkeypatch.setattr(tab_batch, "count_workers", lambda: 1)
    monkeypatch.setattr(tab_batch, "BATCH", 1)
    steps = read_files(service, uploads)
    assert next(steps).is_running
    assert "1 of 5 files read" in next(steps).page

    steps.close()

    assert [file for file in uploads if Path(file).exists()] == []
    assert None not in [worker._process.poll() for worker in pools[0].workers]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process cannot be held here")
def test_a_batch_can_be_stopped_while_a_picture_takes_long(
    service: Service, uploads: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Stop waited for the pictures in flight, half a minute for pages of numbers."""
    is_asked = threading.Event()

    class Hanging(WorkerPool):
        def answer(self, pairs: Any) -> Iterator[Any]:
            is_asked.set()
            for worker in self.workers:
                worker._process.send_signal(signal.SIGSTOP)  # it will answer nothing
            return super().answer(pairs)

    monkeypatch.setattr(tab_batch, "WorkerPool", Hanging)
    monkeypatch.setattr(tab_batch, "count_workers", lambda: 1)
    stop = Stop()
    steps = read_files(service, uploads, stop=stop)
    assert next(steps).is_running

    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, steps)
        is_asked.wait()
        stop.ask()

        [shown] = rest.result()

    assert text_of(shown.page) == "Stopped. Nothing was kept."
    assert not shown.is_running
    assert [file for file in uploads if Path(file).exists()] == []


def test_a_batch_is_stopped_between_two_pictures(service: Service, uploads: list[str]):
    stop = Stop()
    steps = read_files(service, uploads, stop=stop)
    next(steps)

    stop.ask()

    assert [text_of(shown.page) for shown in steps] == ["Stopped. Nothing was kept."]


def test_what_another_visitor_uploads_meanwhile_stays(service: Service, uploads: list[str]):
    """Gradio gives equal files one name, and puts the newer one in the place of the older."""
    steps = read_files(service, uploads)
    next(steps)
    first = Path(uploads[0])
    again = first.with_name("again")
    again.write_bytes(first.read_bytes())
    os.utime(again, ns=(1, 1))
    again.replace(first)

    finish(steps)

    assert [Path(file).exists() for file in uploads] == [True, False, False]


@pytest.mark.parametrize("links", [True, False])
def test_two_visitors_with_the_same_file_both_get_their_rows(
    service: Service, uploads: list[str], monkeypatch: pytest.MonkeyPatch, links: bool
):
    """Gradio gives them one path, and the first to end had removed it from under the other."""
    if not links:
        monkeypatch.setattr(tab_batch.os, "link", Mock(side_effect=PermissionError))
    other = read_files(service, uploads)
    assert next(other).is_running

    first = finish(read_files(service, uploads))[2]
    second = finish(other)[2]

    assert [row["digit"] for row in first] == [3, None, 7, None]
    assert [row["digit"] for row in second] == [3, None, 7, None]
    folders = {Path(file).parent for file in uploads}
    assert [path for folder in folders for path in folder.rglob("*") if path.is_file()] == []


def test_a_file_that_is_gone_before_its_batch_begins_is_a_message(
    service: Service, uploads: list[str]
):
    finish(read_files(service, uploads[:1]))

    (shown,) = read_files(service, uploads)

    assert "three.png: it was deleted after another batch" in text_of(shown.page)
    assert not shown.is_running


def test_two_visitors_at_once_get_their_own_rows(
    service: Service, digit_png: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tab_batch, "BATCH", 1)
    names = {"ann": [1, 2, 3], "bob": [4, 5, 6]}
    steps = {
        name: read_files(service, [str(digit_png(d, name=f"{name}/{d}.png")) for d in digits])
        for name, digits in names.items()
    }

    last = {name: next(reader) for name, reader in steps.items()}
    while not all(shown.csv for shown in last.values()):
        for name, reader in steps.items():  # in turns
            last[name] = next(reader, last[name])

    assert re.findall(r"(\d)\.png", last["ann"].page) == list("123")
    assert re.findall(r"(\d)\.png", last["bob"].page) == list("456")
    assert last["ann"].csv != last["bob"].csv


def test_only_the_batch_of_its_own_page_is_stopped_and_only_while_it_is_read():
    stops = Stops()
    with stops.give("ann") as hers, stops.give("bob") as his:
        stops.ask("ann")
    stops.ask("bob")  # too late

    assert (hers.is_asked, his.is_asked) == (True, False)
    with stops.give("ann") as next_one:
        assert not next_one.is_asked


def test_a_visitor_has_one_batch_at_a_time(service: Service, uploads: list[str]):
    """Two took turns in showing their progress and their tables."""
    with gr.Blocks() as page:
        build_batch_tab(service)
    [run] = [fn for fn in page.fns.values() if len(fn.targets) == 2 and fn.fn]
    assert run.fn is not None

    steps = list(run.fn(uploads, "digit", SimpleNamespace(session_hash="a")))

    assert run.trigger_mode == "once"
    assert {each["interactive"] for step in steps for each in step[-2:]} == {False}


def test_without_files_there_are_examples(service: Service):
    *_, shown = read_chosen(service, None)

    assert shown.page.count("<tr class=") == EXAMPLES


def test_how_far_it_is_and_how_many_failed_is_told_after_each_batch(
    service: Service, uploads: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tab_batch, "BATCH", 2)

    shown, _, _ = finish(read_files(service, uploads))

    told = [text_of(step.page) for step in shown if step.is_running]
    assert told == [
        "0 of 5 files read",
        "2 of 5 files read, 1 could not be read",
        "4 of 5 files read, 2 could not be read",
        "5 of 5 files read, 2 could not be read",
    ]
    assert [step.is_running for step in shown][-2:] == [True, False]


def test_too_many_files_are_refused_and_removed(
    service: Service, uploads: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch_uploads, "MAX_FILES", 2)

    [shown] = read_files(service, uploads)

    assert "Nothing was read: 5 files are too many" in shown.page
    assert (shown.csv, shown.is_running) == (None, False)
    assert [file for file in uploads if Path(file).exists()] == []


@pytest.mark.parametrize("files", [None, []])
def test_no_files_are_an_empty_table_and_no_error(service: Service, files: list[str] | None):
    shown, table, rows = finish(read_files(service, files))

    assert (table, rows) == ([], [])
    assert "All 0" in text_of(shown[-1].page)


@pytest.mark.parametrize("beyond_loopback", [False, True])
def test_a_full_disk_is_told_and_its_path_only_at_home(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    beyond_loopback: bool,
):
    def fail(*_: object) -> None:
        raise OutputError("cannot write /tmp/digits-1/rows.sqlite: the disk is full")

    monkeypatch.setattr(service, "access", Access(beyond_loopback=beyond_loopback))
    monkeypatch.setattr(RowStore, "add", fail)

    last = list(read_examples(service))[-1]

    assert "disk" in last.page
    assert ("/tmp/digits-1" in last.page) is not beyond_loopback
    assert ("/tmp/digits-1" in caplog.text) is beyond_loopback
    assert not last.is_running


def test_the_example_has_something_of_everything(service: Service):
    _, _, rows = finish(read_examples(service))

    assert len(rows) == tab_batch.EXAMPLES
    assert rows[-1]["status"] == "error"


def test_pictures_are_opened_in_a_process_of_their_own(
    service: Service, uploads: list[str], monkeypatch: pytest.MonkeyPatch
):
    """A picture that crashes its decoder must not take the page down."""
    monkeypatch.setattr(tab_batch, "count_workers", lambda: 1)
    here = finish(read_files(service, uploads[:0]))

    _, _, rows = finish(read_files(service, uploads))

    assert here[2] == []
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "error"]


def test_the_page_says_its_limits_and_offers_no_handler_to_other_programs(service: Service):
    with gr.Blocks() as page:
        build_batch_tab(service)

    info = page.get_api_info()

    texts = [str(getattr(block, "value", "")) for block in page.blocks.values()]
    assert any("Up to 500 pictures or 100 MB" in text for text in texts)
    assert (info["named_endpoints"], info["unnamed_endpoints"]) == ({}, {})


# ---- Numbers, right answers, the report ----------------------------------------------------------


@pytest.fixture
def number_png(tmp_path: Path, handwriting: Handwriting) -> Path:
    """Write the number 37, black on white."""
    pictures = [handwriting.images[handwriting.labels == digit][0] for digit in (3, 7)]
    pixels = 255 - np.rint(np.hstack(pictures) * 255).astype(np.uint8).repeat(3, 0).repeat(3, 1)
    path = tmp_path / "up" / "number.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.pad(pixels, 20, constant_values=255)).save(path)
    return path


@pytest.fixture
def sorted_zip(tmp_path: Path, digit_png: Callable[..., Path]) -> Path:
    """Pack a seven that lies where sevens do, one that lies where threes do, and a broken three."""
    path = tmp_path / "sorted.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(digit_png(7), "7/a.png")
        archive.write(digit_png(7), "3/b.png")
        archive.writestr("3/torn.png", b"")
    return path


def read_report(steps: Iterator[Shown]) -> tuple[str, str]:
    """Return what the page showed last, and the report as it was handed over."""
    for step in steps:
        report = Path(step.report).read_text(encoding="utf-8") if step.report else ""
    return step.page, report


def test_numbers_are_read_as_on_the_tab_for_numbers(service: Service, number_png: Path):
    reading = service.predictor.read(number_png)

    shown, table, rows = finish(read_chosen(service, [str(number_png)], "number"))

    assert (rows[0]["text"], rows[0]["status"]) == (" ".join(reading.lines), reading.verdict)
    assert rows[0]["count"] == len(reading.digits) == 2
    assert table[0]["text"] == rows[0]["text"]
    text = text_of(shown[-1].page)
    assert "No number 0" in text
    assert "Number Least sure digit Verdict" in text
    assert rows[0]["text"] in text


def test_numbers_are_read_in_a_process_of_their_own(
    service: Service, number_png: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tab_batch, "count_workers", lambda: 1)

    _, _, rows = finish(read_chosen(service, [str(number_png)], "number"))

    assert rows[0]["count"] == 2


def test_the_examples_of_numbers_are_numbers(service: Service):
    _, _, rows = finish(read_chosen(service, None, "number"))

    assert len(rows) == EXAMPLES
    assert sum((row["count"] or 0) > 1 for row in rows) > EXAMPLES / 2


def test_who_hands_over_numbers_as_digits_is_told_how_they_are_read(
    service: Service, number_png: Path
):
    page = finish(read_files(service, [str(number_png)]))[0][-1].page

    assert "1 picture seems to show several digits: to read numbers, choose “A number”" in page


def test_folders_named_by_digits_tell_how_many_were_read_right(service: Service, sorted_zip: Path):
    shown, _, rows = finish(read_files(service, [str(sorted_zip)]))

    assert [(row["digit"], row["label"]) for row in rows] == [(7, 7), (7, 3), (None, 3)]
    page = shown[-1].page
    assert "33.3 % read right: 1 of 3" in text_of(page)
    assert "Wrong 2" in text_of(page)
    assert page.count("should be 3") == page.count(" batch-wrong") == 2


def test_the_share_read_right_says_how_many_of_it_were_refused(
    service: Service, sorted_zip: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nine of twelve counted as right, while all twelve rows showed no digit."""
    add = RowStore.add

    def refuse(self: RowStore, rows: Any, skipped: Any = ()) -> None:
        refused = [row | {"status": "not a digit"} if row["digit"] else row for row in rows]
        add(self, refused, skipped)

    monkeypatch.setattr(RowStore, "add", refuse)

    page, report = read_report(read_files(service, [str(sorted_zip)]))

    told = "1 refused (the best guess counts, whatever the verdict)"
    assert f"1 of 3 in folders that say what they show; of the right ones {told}" in text_of(page)
    assert f"right of 3 with a known digit; of the right ones {told}" in text_of(report)


def test_without_such_folders_nothing_is_said_about_right_and_wrong(
    service: Service, digit_png: Callable[..., Path]
):
    page = finish(read_files(service, [str(digit_png(3))]))[0][-1].page

    assert "read right" not in page
    assert "Wrong" not in page


def test_the_report_shows_the_pictures_of_the_visitor(service: Service, sorted_zip: Path):
    page, report = read_report(read_files(service, [str(sorted_zip)]))

    assert "33.33 %</b> right of 3" in report
    assert 'data-path="sorted.zip/3/b.png"' in report
    [_, misread] = re.findall(r'src="(data:image/jpeg[^"]+)"', page)
    assert set(re.findall(r'src="(data:image/jpeg[^"]+)"', report)) == {misread}


def test_the_report_holds_nothing_of_the_server(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A stranger's zip may be called as a folder of the server is, and so may what is in it."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    home, up = tmp_path / "home", tmp_path / "up"
    (home / "private").mkdir(parents=True)
    Image.fromarray(noise).save(home / "private" / "plan.png")
    up.mkdir()
    with zipfile.ZipFile(up / "private", "w") as archive:
        archive.writestr("plan.png", encode_png(np.full((64, 64), 255, np.uint8)))
    monkeypatch.chdir(home)

    page, report = read_report(read_files(service, [str(up / "private")]))

    assert "private/plan.png" in report
    assert str(tmp_path) not in report
    assert "data:image/png" not in report, "as the report of a folder shows its files"
    assert re.findall(r'src="(data:image[^"]+)"', report) == re.findall(r'src="(data[^"]+)"', page)


def test_two_pictures_of_one_name_are_not_mixed_up_in_the_report(
    service: Service, digit_png: Callable[..., Path], tmp_path: Path
):
    """Files from two folders may be dropped at once."""
    packed = []
    for folder, digit in (("a", 7), ("b", 3)):
        path = tmp_path / folder / "scans.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(digit_png(digit), "0/x.png")
        packed.append(str(path))

    page, report = read_report(read_files(service, packed))

    assert page.count("data:image/jpeg") == 2
    assert report.count("scans.zip/0/x.png") > 1
    assert "data:image/jpeg" not in report


@pytest.mark.parametrize("beyond_loopback", [False, True])
def test_a_zip_of_texts_is_told_to_hold_no_picture(
    service: Service, tmp_path: Path, beyond_loopback: bool
):
    service.access = Access(beyond_loopback=beyond_loopback)
    notes = tmp_path / "notes.zip"
    with zipfile.ZipFile(notes, "w") as archive:
        archive.writestr("a.txt", b"Dear Sir")
        archive.writestr("b.md", b"# Notes")

    *_, shown = read_files(service, [str(notes)])

    assert "Nothing was read: notes.zip: no picture there, only 2 other files (.md, .txt)" in (
        text_of(shown.page)
    )
    assert (shown.csv, shown.report, shown.is_running) == (None, None, False)
    assert not notes.exists()
