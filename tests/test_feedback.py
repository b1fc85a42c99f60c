"""The store of corrections: nothing twice, nothing lost, nothing without being asked."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import feedback
from batch_sources import open_source
from errors import DataFormatError, DataNotFoundError, ImageError, OutputError, SettingsError
from feedback import BUSY_S, SIDE, Correction, FeedbackStore, _write_ahead, main
from hands import NOT_A_DIGIT
from reviews import import_reviews
from samples import load_samples
from utils import PROJECT

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Said:
    """What a network said about a picture."""

    digit: int | None = 1
    confidence: float | None = 0.75
    verdict: str = "unsure"
    image: np.ndarray = field(default_factory=lambda: np.full((28, 28), 0.5, np.float32))


def picture(number: int, side: int = 28) -> np.ndarray:
    """Return a picture that differs from that of every other number."""
    pixels = np.full((side, side), 255, np.uint8)
    pixels[0, :10] = [255 * (number >> place & 1) for place in range(10)]
    return pixels


def add(store: FeedbackStore, number: int, correct: int | None, **answer: object) -> Correction:
    said = Said(**answer)
    return store.add(picture(number), said, correct, model="best", model_version="0123456789ab")


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "deep" / "feedback.sqlite")


# --- what is kept -----------------------------------------------------------------------------


def test_a_correction_comes_back_as_it_was_given(store: FeedbackStore):
    given = add(store, 5, 7, digit=1, confidence=0.75, verdict="unsure")

    [found] = store.list_page()

    assert found.correct == 7
    assert (found.digit, found.confidence, found.verdict) == (1, 0.75, "unsure")
    assert (found.model, found.model_version, found.source) == ("best", "0123456789ab", "page")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found.stored_at)
    assert np.array_equal(found.seen, np.full((28, 28), 128, np.uint8))
    assert np.array_equal(_decode(found.png)[..., 0], picture(5))
    assert given.is_new
    assert given.id == found.id


def test_nothing_is_on_the_disk_before_the_first_correction(store: FeedbackStore):
    store.list_page()
    store.load_digits()
    store.delete(1)
    store.withdraw(1, 1)
    list(store.stream())

    assert store.history(1) == []
    assert store.count() == 0
    assert not store.path.parent.exists()


def test_a_store_is_there_though_nothing_is_in_it_yet(store: FeedbackStore):
    """It counted as false, so that `if store` meant something else than it said."""
    assert store
    assert not store.path.parent.exists()


def test_to_say_the_same_twice_changes_nothing(store: FeedbackStore):
    first = add(store, 5, 7)

    second = add(store, 5, 7, digit=3, confidence=0.9)

    assert (second.id, second.stored_at, second.digit) == (first.id, first.stored_at, 1)
    assert not second.is_new
    assert len(store.history(first.id)) == 1


def test_the_newest_opinion_counts_and_the_older_ones_stay_in_the_history(store: FeedbackStore):
    for correct in (7, None, 1):
        latest = add(store, 5, correct)

    assert [each.correct for each in store.stream()] == [1]
    assert [each.correct for each in store.history(latest.id)] == [7, None, 1]
    assert store.count_by_digit() == dict.fromkeys(range(10), 0) | {1: 1, None: 0}


def test_an_opinion_is_withdrawn_and_the_older_one_counts_again(store: FeedbackStore):
    add(store, 6, 6)
    first, second = add(store, 5, 7), add(store, 5, 1)

    store.withdraw(second.id, second.place)
    between = [each.correct for each in store.history(first.id)]
    store.withdraw(first.id, first.place)

    assert between == [7]
    assert [each.correct for each in store.stream()] == [6]


def test_a_place_that_was_given_again_is_not_withdrawn_twice(store: FeedbackStore):
    first = add(store, 5, 7)
    store.withdraw(first.id, first.place)
    other = add(store, 6, 6)
    assert other.place == first.place

    store.withdraw(first.id, first.place)

    assert store.count() == 1


def test_a_picture_is_known_again_in_another_file_format(store: FeedbackStore, tmp_path: Path):
    pixels = np.array(Image.fromarray(picture(5)).convert("RGBA"))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(picture(5)).save(tmp_path / "b.bmp")
    about = {"model": "best", "model_version": "0"}

    store.add(tmp_path / "a.png", Said(), 7, **about)
    again = store.add((tmp_path / "b.bmp").read_bytes(), Said(), 7, **about)

    assert not again.is_new
    assert store.count() == 1


def test_only_the_pixels_of_a_photograph_are_kept_and_not_too_many(
    store: FeedbackStore, tmp_path: Path
):
    noise = RNG.integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[270] = "taken at home"
    Image.fromarray(noise).save(tmp_path / "photo.jpg", exif=exif)

    kept = store.add(tmp_path / "photo.jpg", Said(), 7, model="best", model_version="0")

    assert _decode(kept.png).shape == (240, SIDE, 3)
    assert len(kept.png) < 300_000
    assert b"taken at home" not in store.path.read_bytes() + kept.png
    assert b"photo.jpg" not in store.path.read_bytes()


@pytest.mark.parametrize("correct", [-1, 10, True, "7", 7.0, "not a digit"])
def test_what_is_no_digit_is_refused(store: FeedbackStore, correct: object):
    with pytest.raises(SettingsError, match=re.escape(repr(correct))):
        add(store, 5, correct)

    assert not store.path.exists()


def test_what_no_network_here_can_have_seen_is_refused(store: FeedbackStore):
    with pytest.raises(SettingsError, match=r"\(8, 8\), not \(28, 28\)"):
        add(store, 5, 5, image=np.zeros((8, 8), np.uint8))

    assert store.count() == 0


def test_what_is_no_picture_is_refused(store: FeedbackStore):
    with pytest.raises(ImageError, match="not a picture"):
        store.add(b"Dear Sir", Said(), 7, model="best", model_version="0")

    assert not store.path.exists()


# --- pages, counts, deletion ------------------------------------------------------------------


def test_pages_are_listed_with_the_latest_first(store: FeedbackStore):
    ids = [add(store, number, number % 10).id for number in range(1, 8)]

    pages = [[each.id for each in store.list_page(page, size=3)] for page in (1, 2, 3, 4)]

    latest = ids[::-1]
    assert pages == [latest[:3], latest[3:6], latest[6:], []]


@pytest.mark.parametrize(("correct", "expected"), [(3, [3, 1]), (None, [4]), (8, []), ("all", 4)])
def test_a_list_may_hold_one_digit_only(
    store: FeedbackStore, correct: int | None, expected: list[int]
):
    for number, shown in ((1, 3), (2, 5), (3, 3), (4, None)):
        add(store, number, shown)

    found = store.list_page(correct=correct)

    assert (len(found) if correct == "all" else [each.id for each in found]) == expected


@pytest.mark.parametrize(
    ("page", "size"),
    [(0, 24), (-1, 24), (1, 0), (2**63, 1), (1, 2**63), (2**40, 2**40), (10**30, 24)],
)
def test_a_page_that_cannot_be_is_refused(store: FeedbackStore, page: int, size: int) -> None:
    with pytest.raises(SettingsError, match=f"page {page} of {size} corrections"):
        store.list_page(page, size=size)


def _delete(store: FeedbackStore, secret: Correction) -> None:
    assert store.delete(secret.id)


def _withdraw(store: FeedbackStore, secret: Correction) -> None:
    store.withdraw(secret.id, secret.place)


ways_to_erase = pytest.mark.parametrize("erase", [_delete, _withdraw])


@ways_to_erase
@pytest.mark.parametrize("half_read", [False, True])
def test_what_is_erased_is_gone_from_the_disk_too(
    store: FeedbackStore, erase: Callable[[FeedbackStore, Correction], None], half_read: bool
):
    """An export that was not finished kept the bytes there, and the one who erased waited for it.

    It was then told that all was gone, though nothing but the wait was over.
    """
    add(store, 1, 7)
    secret, part = _add_secret(store)
    add(store, 2, 7)
    reading = store.stream()
    if half_read:
        next(reading)
    assert part in _read_all(store)

    erase(store, secret)

    assert part not in _read_all(store)
    assert store.history(secret.id) == []
    assert [each.correct for each in store.stream()] == [7, 7]


@ways_to_erase
def test_who_erases_waits_for_no_reader_and_the_next_use_takes_the_bytes_away(
    store: FeedbackStore, erase: Callable[[FeedbackStore, Correction], None]
):
    """Other programs may read the file as long as they like."""
    secret, part = _add_secret(store)
    with closing(sqlite3.connect(store.path)) as other, ThreadPoolExecutor(1) as pool:
        rows = other.execute("SELECT id FROM pictures UNION ALL VALUES (0)")
        next(rows)

        pool.submit(erase, store, secret).result(timeout=BUSY_S / 2)
        meanwhile = (store.count(), part in _read_all(store))
        rows.close()
        afterwards = (store.count(), part in _read_all(store))

    assert meanwhile == (0, True)
    assert afterwards == (0, False)


def test_the_log_is_no_reason_to_call_what_was_done_undone(
    store: FeedbackStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A checkpoint needs room on the disk, a correction is safe without."""

    class Full(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if "checkpoint" in statement:
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Full))

    kept = add(store, 1, 7)

    assert store.history(kept.id)[0].correct == 7
    assert "cannot empty the log" in caplog.text


def test_the_number_of_a_deleted_picture_is_not_used_again(store: FeedbackStore):
    """A second click on "delete" would else have erased another picture."""
    last = add(store, 1, 7).id
    store.delete(last)

    fresh = add(store, 2, 7).id

    assert fresh != last
    assert not store.delete(last)
    assert store.count() == 1


def test_a_stream_gives_what_was_there_when_it_began_but_for_what_is_erased_meanwhile(
    store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feedback, "STREAM_SIZE", 2)
    ids = [add(store, number, 7).id for number in range(1, 10)]
    add(store, 1, 3)  # the newest opinion, about the first picture
    store.delete(ids[1])

    stream = store.stream()
    first = next(stream)
    store.delete(ids[4])  # not yet read
    store.delete(ids[8])  # the last one
    add(store, 11, 5)
    add(store, 4, 4)
    rest = list(stream)

    assert (first.id, first.correct) == (ids[0], 3)
    assert [each.id for each in rest] == [ids[2], ids[3], *ids[5:8]]
    assert [each.correct for each in rest] == [7, 4, 7, 7, 7]


# --- training and export ----------------------------------------------------------------------


def test_digits_are_loaded_as_a_training_takes_them(store: FeedbackStore):
    sevens = RNG.integers(0, 256, (28, 28), dtype=np.uint8)
    add(store, 1, 7, image=sevens)
    add(store, 2, None)
    add(store, 3, 0, image=np.ones((28, 28), np.float32))

    images, labels = store.load_digits()
    more_images, more_labels = store.load_digits(no_digit=-1)

    assert (images.shape, images.dtype, labels.dtype) == ((2, 28, 28), np.uint8, np.int64)
    assert labels.tolist() == [7, 0]
    assert np.array_equal(images[0], sevens)
    assert images[1].min() == 255
    assert more_labels.tolist() == [7, -1, 0]
    assert np.array_equal(more_images[[0, 2]], images)


def test_an_empty_store_gives_empty_arrays_of_the_right_shape(store: FeedbackStore):
    images, labels = store.load_digits()

    assert images.shape == (0, 28, 28)
    assert labels.shape == (0,)


def test_an_export_has_a_folder_for_each_digit_and_a_manifest(store: FeedbackStore, tmp_path: Path):
    for number, correct in ((1, 7), (2, None), (3, 7)):
        add(store, number, correct)

    folder = store.export(tmp_path / "out")

    manifest = list(open_source(folder / "corrections.csv").read())
    files = sorted(path.relative_to(folder).parts for path in folder.rglob("*.png"))
    assert [parts[0] for parts in files] == ["7", "7", "not_a_digit"]
    assert [item.label for item in manifest] == [7, None, 7]
    assert {Path(item.path) for item in manifest} == set(folder.rglob("*.png"))


def test_an_export_can_be_evaluated_as_a_table_and_as_a_folder(
    store: FeedbackStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for number, correct in ((1, 7), (2, None)):
        add(store, number, correct)
    folder = store.export(tmp_path / "out")

    table = load_samples(str(folder / "corrections.csv"), tmp_path)
    assert caplog.text == ""  # every label was understood
    files = load_samples(str(folder), tmp_path)

    for samples in (table, files):
        assert {each.label for each in samples} == {7, NOT_A_DIGIT}


def test_a_zip_holds_what_a_folder_would(store: FeedbackStore, tmp_path: Path):
    for number in range(1, 4):
        add(store, number, number)

    folder = store.export(tmp_path / "out")
    with zipfile.ZipFile(store.export_zip(tmp_path / "out.zip")) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}

    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    assert packed == {name: path.read_bytes() for name, path in files.items()}


def test_an_export_does_not_mix_with_other_files(store: FeedbackStore, tmp_path: Path):
    add(store, 1, 7)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()

    with pytest.raises(SettingsError, match="not an empty folder"):
        store.export(tmp_path / "out")

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


# --- when things go wrong ---------------------------------------------------------------------


def test_a_full_disk_is_told_and_earlier_rows_are_intact(tmp_path: Path):
    store = FeedbackStore(tmp_path / "feedback.sqlite", max_bytes=150_000)
    added = []

    def fill() -> None:
        for number in range(1, 1000):
            noise = RNG.integers(0, 256, (100, 100), dtype=np.uint8)
            added.append(store.add(noise, Said(), number % 10, model="b", model_version="0").id)

    with pytest.raises(OutputError, match=r"feedback\.sqlite.*full.*intact") as caught:
        fill()

    assert caught.value.http_status == 507
    assert len(added) > 3
    assert [each.id for each in store.stream()] == added
    assert _integrity(store) == "ok"
    store.delete(added[0])
    assert add(store, 1, 7).is_new, "there is room again"


WRITER = """
import resource, signal, sys
import numpy as np
from feedback import FeedbackStore
from errors import OutputError
from tests.test_feedback import Said
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store, rng = FeedbackStore(sys.argv[1]), np.random.default_rng(1)
try:
    for number in range(2000):
        noise = rng.integers(0, 256, (100, 100), dtype=np.uint8)
        store.add(noise, Said(), number % 10, model="b", model_version="0")
        print(number + 1, flush=True)
except OutputError as error:
    print(error)
"""
needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def _start_writer(path: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(limit)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )


@needs_posix
def test_a_disk_that_takes_no_more_is_told_by_the_name_of_the_file(tmp_path: Path):
    """Here the system itself refuses: no file of the process may grow beyond the limit."""
    store = FeedbackStore(tmp_path / "feedback.sqlite")

    printed = _start_writer(store.path, limit=200_000).communicate(timeout=120)[0].splitlines()

    assert str(store.path) in printed[-1]
    assert "intact" in printed[-1]
    assert store.count() == int(printed[-2]) >= 3
    assert _integrity(store) == "ok"


@needs_posix
def test_what_was_stored_survives_a_kill_at_any_moment(tmp_path: Path):
    store = FeedbackStore(tmp_path / "feedback.sqlite")

    with _start_writer(store.path) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(25)][-1]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()

    told = max([told, *map(int, rest)])
    # The kill may come between the commit and the message about it.
    assert store.count() in {told, told + 1}
    assert _integrity(store) == "ok"
    assert add(store, 1, 7).is_new


MANY_WRITERS = """
import multiprocessing, sys
import numpy as np
from feedback import FeedbackStore
from tests.test_feedback import add

def write(writer):
    store = FeedbackStore(sys.argv[1])
    for number in range(1, 13):
        add(store, number, number % 10)  # the same pictures by everyone
    for number in range(1, 6):
        add(store, 100 * writer + number, writer)
    assert store.count() >= 17

if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write, args=[number]) for number in range(1, 7)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    print([writer.exitcode for writer in writers])
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="starts processes by fork"
)
def test_many_processes_write_at_once_and_nothing_is_double_or_missing(tmp_path: Path):
    store = FeedbackStore(tmp_path / "feedback.sqlite")

    done = subprocess.run(
        [sys.executable, "-c", MANY_WRITERS, str(store.path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert json.loads(done.stdout) == [0] * 6, done.stderr
    assert store.count() == 12 + 6 * 5
    assert all(len(store.history(each.id)) == 1 for each in store.stream())
    assert _integrity(store) == "ok"


class BusyAtFirst:
    """A connection to a new file that others are setting up at the same moment."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons

    def execute(self, statement: str) -> None:
        assert statement == "PRAGMA journal_mode=WAL"
        if self.reasons:
            raise sqlite3.OperationalError(self.reasons.pop(0))


def test_who_sets_up_a_new_file_at_the_same_moment_is_waited_for():
    db = BusyAtFirst(["database is locked", "database is locked"])

    _write_ahead(db)

    assert db.reasons == []


def test_what_waiting_does_not_cure_is_told_at_once():
    db = BusyAtFirst(["disk I/O error", "never asked for"])

    with pytest.raises(sqlite3.OperationalError, match="disk"):
        _write_ahead(db)

    assert db.reasons == ["never asked for"]


@pytest.mark.parametrize(
    ("content", "error", "hint"),
    [
        (b"this is a letter, not a database" * 200, DataFormatError, "move it away"),
        ("PRAGMA user_version = 99", DataFormatError, "newer version"),
        (None, OutputError, "allow writing"),
    ],
    ids=["not a database", "newer", "a folder"],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | str | None, error: type[Exception], hint: str
):
    path = tmp_path / "feedback.sqlite"
    if content is None:
        path.mkdir()
    elif isinstance(content, str):
        sqlite3.connect(path).execute(content)
    else:
        path.write_bytes(content)

    with pytest.raises(error, match=rf"feedback\.sqlite.*{hint}"):
        add(FeedbackStore(path), 1, 7)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"feedback\.sqlite"):
        add(FeedbackStore(tmp_path / "file" / "feedback.sqlite"), 1, 7)


def test_an_export_is_taken_back_without_a_loss(store: FeedbackStore, tmp_path: Path):
    add(store, 0b1111100000, 7, digit=1, confidence=0.75, verdict="unsure")
    add(store, 0b0000111111, None, digit=3, confidence=0.25, verdict="not a digit")
    folder = store.export(tmp_path / "out")
    other = FeedbackStore(tmp_path / "other.sqlite")

    first = import_reviews(other, folder / "corrections.csv")
    second = import_reviews(other, folder / "corrections.csv")

    assert (first.added, first.known, first.problems) == (2, 0, ())
    assert (second.added, second.known) == (0, 2)
    assert [_about(each) for each in other.stream()] == [_about(each) for each in store.stream()]
    assert {each.source for each in other.stream()} == {"import"}


# --- command line -----------------------------------------------------------------------------


def test_the_command_line_counts_lists_exports_and_imports(
    store: FeedbackStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    add(store, 0b1111100000, 7, digit=1)
    add(store, 0b0000111111, None, digit=3)
    there, back = ["--database", str(store.path)], ["--database", str(tmp_path / "back.sqlite")]

    codes = [
        main([*there, "count"]),
        main([*there, "list"]),
        main([*there, "export", str(tmp_path / "out")]),
        main([*there, "export", str(tmp_path / "out.zip")]),
        main([*back, "import", str(tmp_path / "out" / "corrections.csv")]),
    ]

    printed = capsys.readouterr().out.splitlines()
    assert codes == [0] * 5
    assert printed[7].split() == ["7", "1"]
    assert printed[11].split() == ["all", "2"]
    assert [line.split()[:2] for line in printed[12:15]] == [
        ["id", "correct"],
        ["2", "not"],
        ["1", "7"],
    ]
    assert printed[-1].startswith("2 corrections added, 0 known already")
    assert zipfile.is_zipfile(tmp_path / "out.zip")


def test_what_is_not_known_of_a_correction_is_a_dash_in_the_list(
    store: FeedbackStore, capsys: pytest.CaptureFixture[str]
):
    store.add(picture(7), Said(None, None, ""), 7, model="", model_version="", source="import")

    assert main(["--database", str(store.path), "list"]) == 0

    cells = capsys.readouterr().out.splitlines()[1].split()
    assert (cells[2:4], cells[-2:]) == (["-", "-"], ["-", "import"])


def test_each_correction_is_one_line_whatever_a_table_calls_its_model(
    store: FeedbackStore, capsys: pytest.CaptureFixture[str]
):
    store.add(picture(7), Said(7), 7, model="new\nline\x1b", model_version="", source="import")

    assert main(["--database", str(store.path), "list"]) == 0

    assert r"new\nline\x1b" in capsys.readouterr().out.splitlines()[1]


def test_a_row_that_could_not_be_taken_makes_the_exit_code_1(
    store: FeedbackStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "review.csv").write_text("path,label\ngone.png,3\n", encoding="utf-8")

    code = main(["--database", str(store.path), "import", str(tmp_path / "review.csv")])

    assert code == 1
    assert "line 2, gone.png" in capsys.readouterr().err


def test_a_missing_table_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = main(["--database", str(tmp_path / "f.sqlite"), "import", str(tmp_path / "none.csv")])

    assert code == DataNotFoundError.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_the_environment_says_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIGITS_FEEDBACK", str(tmp_path / "elsewhere.sqlite"))

    assert FeedbackStore().path == tmp_path / "elsewhere.sqlite"


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("command", [["list"], ["count"], ["export", "out"]])
def test_a_store_that_was_named_and_is_not_there_is_told_with_its_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    by_variable: bool,
):
    """A name with a typo passed as a store without corrections."""
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "mistyped.sqlite")
    if by_variable:
        monkeypatch.setenv("DIGITS_FEEDBACK", place)

    code = main([*([] if by_variable else ["--database", place]), *command])

    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (1, "", 1)
    assert f"{place}: no such file" in printed.err
    assert "--database or DIGITS_FEEDBACK" in printed.err
    assert list(tmp_path.iterdir()) == []


def test_the_usual_place_may_be_empty_and_a_new_store_may_be_named_to_take_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("DIGITS_FEEDBACK", raising=False)
    monkeypatch.setattr(feedback, "PROJECT", tmp_path)
    Image.fromarray(picture(7)).save(tmp_path / "7.png")
    (tmp_path / "review.csv").write_text("path,review\n7.png,7\n", encoding="utf-8")

    empty = main(["count"])
    counted = capsys.readouterr().out
    taken = main(["--database", str(tmp_path / "new"), "import", str(tmp_path / "review.csv")])

    assert (empty, counted.split()[-2:]) == (0, ["all", "0"])
    assert (taken, FeedbackStore(tmp_path / "new").count()) == (0, 1)


# --- helpers ----------------------------------------------------------------------------------


def _add_secret(store: FeedbackStore) -> tuple[Correction, bytes]:
    """Store a picture, and give some bytes of it that are nowhere else."""
    noise = RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    secret = store.add(noise, Said(), 3, model="b", model_version="0")
    return secret, secret.png[1000:1064]


def _decode(png: bytes) -> np.ndarray:
    import io

    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def _read_all(store: FeedbackStore) -> bytes:
    return b"".join(path.read_bytes() for path in store.path.parent.iterdir())


def _about(each: Correction) -> tuple:
    return (each.correct, each.digit, each.confidence, each.verdict, each.model, each.hash)


def _integrity(store: FeedbackStore) -> str:
    connection = sqlite3.connect(store.path)
    answer: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return answer


@pytest.mark.parametrize("limit", [0, -1, 2**63, 99999999999999999999])
def test_a_list_of_an_impossible_length_is_refused_by_the_name_of_its_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    """More than SQLite can count to ended in a traceback."""
    code = main(["--database", str(tmp_path / "f.sqlite"), "list", "--limit", str(limit)])

    assert code == 2
    assert f"--limit {limit}: choose a number from 1" in capsys.readouterr().err
