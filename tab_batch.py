"""The tab "Batch": drop pictures or a zip, and get a table of answers to look at and to keep.

    uploads -> batch_uploads -> worker process: open, prepare -> network -> rows
                                                              -> table, CSV, JSON, report

It is put together from what `batch_processor.py` is made of, so a picture gets the same row here
and there. Pictures are opened in a process of their own: one that crashes its decoder costs a row.
Everything lies in a temporary folder of the one visitor and is removed when the table is shown.
What happens in the browser is in `batch_table.js`, and how it looks is in `batch_table.css`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from batch_answers import DIGITS
from batch_formats import write_csv, write_json
from batch_input import Input
from batch_numbers import NUMBERS
from batch_report import write_report
from batch_rows import (
    STATUSES,
    Results,
    Row,
    RowStore,
)
from batch_sources import (
    add_labels,
    count_endings,
    explain_nothing,
)
from batch_summary import explain_correct, summarise_run
from batch_task import Answered, Task
from batch_uploads import MAX_BYTES, MAX_FILES, check_uploads, read_uploads
from batch_workers import WorkerPool
from decoding import decoders_for
from encoding import encode_png, picture_url
from errors import DigitError, ImageError, UploadError, WorkerError
from panels import confidence_words, render_hint, render_notice, short_percent
from reading import SEVERAL
from utils import count_noun, count_processors, printable
from widgets import QUIET

if TYPE_CHECKING:
    from service import Service

HERE = Path(__file__).resolve().parent
BATCH = 32  # pictures in a forward pass, and rows between two signs of life
AT_ONCE = 2  # batches of different visitors; others wait in line
THUMBNAIL = 96  # pixels, shown at half that
EXAMPLES = 12
SHOWS = (("One digit", "digit"), ("A number", "number"))  # what each picture does
CHIPS = {
    "all": "All",
    "ok": "Sure",
    "unsure": "Unsure",
    "not a digit": "Not a digit",
    "error": "Not read",
    "wrong": "Wrong",
}

INTRODUCTION = (
    "Many pictures at once: you get a table with every answer and how sure it is, to look through "
    "here and to download."
)
LIMITS = (
    f"Up to {MAX_FILES} pictures or {MAX_BYTES // 2**20} MB in one go, as files or in zips. "
    "They are read in memory and deleted when the table is there. In a zip with folders named 0 to "
    "9, these count as the right digits: then you also get the share that was read right."
)
STOPPED = "Stopped. Nothing was kept."
STOPPING = "Stopping."
FAILED = "Nothing was read."  # why is shown beside it
WAITING = f"Waiting to begin: at most {AT_ONCE} batches are read at a time."


class Shown(NamedTuple):
    """What the tab shows: HTML, the files to download once they are there, whether it goes on."""

    page: str
    csv: str | None = None
    json: str | None = None
    report: str | None = None
    is_running: bool = False


class Stop:
    """One visitor's wish to end a batch, which another thread hears of at once.

    Gradio's own way, `cancels=`, would wait for the pictures that are being read, and forget every
    press of a button until then.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._pool: WorkerPool | None = None

    def ask(self) -> None:
        """End what is read now."""
        self.is_asked = True
        if pool := self._pool:
            pool.kill()

    @contextlib.contextmanager
    def ends(self, pool: WorkerPool) -> Iterator[None]:
        """Let `ask` end a pool; what is read with it then is over without a table.

        Raises
        ------
        _StoppedError
            If it was ended.
        """
        self._pool = pool
        try:
            self.check()
            yield
        except WorkerError:
            self.check()  # it may have failed by itself
            raise
        finally:
            self._pool = None

    def check(self) -> None:
        """Raise `_StoppedError` if this was asked for."""
        if self.is_asked:
            raise _StoppedError


class Stops:
    """What may be stopped now, by the page that shows it.

    (A `gr.State` would hold it too, but keeps a connection to each page open, and browsers allow
    only six to one server.)
    """

    def __init__(self) -> None:
        self._by_page: dict[str | None, Stop] = {}

    @contextlib.contextmanager
    def give(self, page: str | None) -> Iterator[Stop]:
        """Make what ends the batch of a page, until that is over."""
        self._by_page[page] = stop = Stop()
        try:
            yield stop
        finally:
            if self._by_page.get(page) is stop:  # not that of a second batch of the same page
                del self._by_page[page]

    def ask(self, page: str | None) -> None:
        """End what is read for a page, if anything is."""
        if stop := self._by_page.get(page):
            stop.ask()


class _StoppedError(Exception):
    """A visitor has ended a batch."""


def read_files(
    service: Service,
    files: Sequence[str] | None,
    *,
    task: Task = DIGITS,
    stop: Stop | None = None,
) -> Generator[Shown]:
    """Read uploaded files, and remove them.

    Parameters
    ----------
    service : Service
    files : sequence of str or None
        Where Gradio has put them.
    task : Task, default=DIGITS
        What each picture shows.
    stop : Stop, optional
        Ends it early.

    Yields
    ------
    Shown
        How far it is; at last the table, or why there is none.
    """
    try:
        with _keep([Path(file) for file in files or ()]) as paths:
            name = printable(paths[0].name) if len(paths) == 1 else f"{len(paths)} files"
            count = check_uploads(paths)
            yield from _read(service, read_uploads(paths), count, name, task, stop)
    except DigitError as error:
        yield _explain(service, error)


def read_examples(
    service: Service, *, task: Task = DIGITS, stop: Stop | None = None
) -> Generator[Shown]:
    """Read pictures that the program draws, so that everybody can try; see `read_files`."""
    try:
        examples = make_examples(numbers=task.numbers)
        yield from _read(service, examples, EXAMPLES, "examples", task, stop)
    except DigitError as error:
        yield _explain(service, error)


def read_chosen(
    service: Service,
    files: Sequence[str] | None,
    shows: str = "digit",
    stop: Stop | None = None,
) -> Generator[Shown]:
    """Read uploaded files, or examples where there are none; `shows` is one of `SHOWS`."""
    task = NUMBERS if shows == "number" else DIGITS
    if files:
        return read_files(service, files, task=task, stop=stop)
    return read_examples(service, task=task, stop=stop)


def _explain(service: Service, error: DigitError) -> Shown:
    """Say why there is no table."""
    return Shown(render_notice(f"Nothing was read: {service.tell(error)}."))


@contextlib.contextmanager
def _keep(uploads: Sequence[Path]) -> Iterator[list[Path]]:
    """Give each upload a second name that no other batch knows; at the end both are removed.

    Gradio names uploads by their content: two visitors with the same file share one path, and
    whoever is done first removes it.
    """
    with contextlib.ExitStack() as stack:
        paths = []
        for upload in uploads:
            try:
                before = upload.stat()
                # Beside the upload: it is the same disk, and goes with the folder of all uploads.
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix="batch-", dir=upload.parent, ignore_cleanup_errors=True
                    )
                )
                paths.append(Path(folder) / upload.name)
                _link(upload, paths[-1])
                stack.callback(_remove, upload, before)
            except FileNotFoundError as error:
                raise UploadError(
                    f"{printable(upload.name)}: it was deleted after another batch with the same "
                    "file; hand it over again"
                ) from error
        yield paths


def _link(path: Path, name: Path) -> None:
    """Give a file another name, or copy it where a disk knows only one for each."""
    try:
        os.link(path, name)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(path, name)


def _remove(path: Path, before: os.stat_result) -> None:
    """Remove an uploaded file, unless another visitor has uploaded the same in the meantime."""
    # Gradio puts a new file in the place of an equal one.
    try:
        now = path.stat()
        if (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns):
            path.unlink()
    except FileNotFoundError:
        return  # the other visitor was faster


def _read(
    service: Service,
    inputs: Iterable[Input],
    count: int,
    name: str,
    task: Task,
    stop: Stop | None,
) -> Generator[Shown]:
    """Read inputs, and tell how far it is; or that it was stopped."""
    try:
        yield from _read_all(service, inputs, count, name, task, stop or Stop())
    except _StoppedError:
        yield Shown(render_hint(STOPPED))


def _read_all(
    service: Service, inputs: Iterable[Input], count: int, name: str, task: Task, stop: Stop
) -> Generator[Shown]:
    """Read inputs, and tell how far it is after each batch."""
    predictor = service.predictor
    reader = task.make_reader(lambda: predictor)
    size = min(BATCH, reader.chunk_files)
    thumbnails: list[str] = []
    # Gradio may run each step in another thread, where SQLite would refuse to go on. So the rows
    # are kept until all are there; they are few.
    rows: list[Row] = []
    skipped: list[tuple[str, str]] = []
    started = time.perf_counter()
    yield Shown(_progress(0, count, 0), is_running=True)
    with WorkerPool(count_workers(), reader=reader) as pool, stop.ends(pool):
        answers = pool.answer((item, None) for item in add_labels(inputs, numbers=task.numbers))
        while batch := list(itertools.islice(answers, size)):
            new, others = task.make_rows(batch, predictor, size)
            rows += new
            skipped += others
            for pair in batch:
                stop.check()  # photographs take a while
                if not _is_skipped(pair):
                    thumbnails.append(make_thumbnail(*pair))
            errors = sum(row["status"] == "error" for row in rows)
            yield Shown(_progress(len(rows) + len(skipped), count, errors), is_running=True)
    seconds = time.perf_counter() - started
    if skipped and not rows:
        endings = count_endings(path for path, _ in skipped)
        raise UploadError(explain_nothing(name, "uploads", endings))
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        results = _store(rows, skipped, task, Path(folder))
        about = {
            "run": name,
            "source": "handed over on the page",
            "kind": "uploads",
            "model": predictor.checkpoint.path.stem,
            "model_version": predictor.checkpoint.version,
            "numbers": task.numbers,
        }
        summary = summarise_run(results, about, read_now=len(rows), seconds=seconds)
        pictures = _by_path(results, thumbnails)
        yield Shown(
            render_results(results, summary, thumbnails),
            str(write_csv(results, Path(folder) / "results.csv")),
            str(write_json(results, Path(folder) / "results.json")),
            str(write_report(results, summary, Path(folder) / "report.html", pictures)),
        )  # the page takes copies before it asks for more


def _by_path(results: Results, thumbnails: Sequence[str]) -> dict[str, str]:
    """Find small pictures by the names of their rows; those of two rows of one name are left out.

    Visitors may drop files of one name from several folders.
    """
    paths = [row["path"] for row in results]
    counts = Counter(paths)
    pairs = zip(paths, thumbnails, strict=True)
    return {path: thumbnail for path, thumbnail in pairs if counts[path] == 1}


def _store(rows: list[Row], skipped: list[tuple[str, str]], task: Task, folder: Path) -> Results:
    """Put rows where they can be counted and written to files."""
    with contextlib.closing(RowStore(folder / "rows.sqlite", task.columns)) as store:
        store.add(rows, skipped)
        return Results(store.path)


def count_workers() -> int:
    """Choose how many processes open pictures: the page itself has to stay quick."""
    return max(1, min(2, count_processors() // 2))


def _is_skipped(pair: Answered) -> bool:
    """Whether a file of an archive is no picture, and has no row."""
    return getattr(pair[1], "status", "") == "skipped"


def make_thumbnail(item: Input, answer: Any) -> str:
    """Show a picture small, as a data URL; nothing if it could not be read."""
    source = item.file if item.data is None else item.data
    if answer.status == "error" or source is None:
        return ""
    try:
        pixels = decoders_for(source).open(source, THUMBNAIL).pixels
    except ImageError:  # the worker could read it: the file has changed since
        return ""
    return picture_url(pixels, photo=True)


def make_examples(*, numbers: bool = False) -> Iterator[Input]:
    """Draw some digits, or numbers; add a smudge and a file that is no picture."""
    from strokes import draw_digit, draw_number

    rng = np.random.default_rng()
    for place in range(EXAMPLES - 2):
        if numbers:
            pixels, _ = draw_number(str(rng.integers(10, 100_000)), rng, height=64)
        else:
            pixels = draw_digit(place % 10, rng, size=96)
        yield Input(f"drawn-{place}.png", data=encode_png(pixels))
    noise = rng.normal(128, 60, (96, 96)).clip(0, 255).astype(np.uint8)
    yield Input("noise.png", data=encode_png(noise))
    yield Input("letter.png", data=b"Dear reader, this is no picture.", is_listed=True)


# ------------------------------------------------------------------------------------------------
# What is shown
# ------------------------------------------------------------------------------------------------


def _progress(done: int, count: int, errors: int) -> str:
    """Tell how far it is."""
    bad = f", {errors:,} could not be read" if errors else ""
    return (
        '<div class="batch-progress"><div role="progressbar" aria-label="Files read"'
        f' aria-valuemin="0" aria-valuemax="{count}" aria-valuenow="{done}">'
        f'<span style="width:{100 * done / max(1, count):.1f}%"></span></div>'
        f"<p>{done:,} of {count:,} files read{bad}</p></div>"
    )


def render_results(results: Results, summary: Mapping[str, Any], thumbnails: Sequence[str]) -> str:
    """Show a summary and one line for each picture.

    Parameters
    ----------
    results : Results
    summary : mapping
        As `batch_summary.summarise` gives it, or more.
    thumbnails : sequence of str
        A data URL for each row, or nothing.
    """
    numbers = results.answer == "text"
    lines = "".join(
        _line(row, results.answer, thumbnail)
        for row, thumbnail in zip(results, thumbnails, strict=True)
    )
    return f"""
<div class="batch{" batch-numbers" if numbers else ""}" data-show="all">
  {_accuracy(summary)}
  {_lead(results)}
  {_chips(summary, numbers)}
  <div class="batch-scroll" tabindex="0" role="region" aria-label="Answers">
  <table>
    <thead><tr><th scope="col">Picture</th><th scope="col">Name</th>
      <th scope="col">{"Number" if numbers else "Digit"}</th>
      <th scope="col">{"Least sure digit" if numbers else "Confidence"}</th>
      <th scope="col">Verdict</th></tr></thead>
    <tbody>{lines}</tbody>
  </table>
  </div>
  {_skipped(results)}
</div>"""


def _accuracy(summary: Mapping[str, Any]) -> str:
    """Tell how many were read right, where that is known."""
    labelled, correct = summary["labelled"], summary["correct"]
    if not labelled:
        return ""
    but = explain_correct(summary)
    return (
        f'<p class="batch-accuracy"><b>{100 * correct / labelled:.1f} %</b> read right: '
        f"{correct:,} of {labelled:,} in folders that say what they show"
        f"{but and f'; of the right ones {but}'}</p>"
    )


def _lead(results: Results) -> str:
    """Say what to do with pictures of several digits, where one was looked for."""
    if results.answer != "digit":
        return ""
    count = sum(row["reason"] in SEVERAL for row in results)
    if not count:
        return ""
    shows = "seems" if count == 1 else "seem"
    return render_notice(
        f"{count_noun(count, 'picture')} {shows} to show several digits: to read numbers, choose "
        f"“{SHOWS[1][0]}” above and hand the pictures over again."
    )


def _chips(summary: Mapping[str, Any], numbers: bool) -> str:
    """Count the verdicts; a click shows only the rows with one of them."""
    counts = {"all": summary["pictures"], **{status: summary[status] for status in STATUSES}}
    if summary["labelled"]:
        counts["wrong"] = summary["labelled"] - summary["correct"]
    buttons = "".join(
        f'<button type="button" data-show="{_class(name)}"'
        f' aria-pressed="{"true" if name == "all" else "false"}"{"" if count else " disabled"}>'
        f"{_name(name, numbers)} <small>{count:,}</small></button>"
        for name, count in counts.items()
    )
    return f'<div class="chips" role="group" aria-label="Rows shown">{buttons}</div>'


def _name(status: str, numbers: bool) -> str:
    """Say how rows of a status are called here."""
    return "No number" if numbers and status == "not a digit" else CHIPS[status]


def _class(status: str) -> str:
    """Make a name for the style sheet of a status."""
    return status.replace(" ", "-")


def _line(row: Row, answer: str, thumbnail: str) -> str:
    """Show one picture; `answer` is the column that holds what was read."""
    status, read, label = row["status"], row[answer], row["label"]
    shown = {"ok": f"{read}", "unsure": f"{read}?"}.get(status, "–")
    sure = ""
    if status in ("ok", "unsure"):
        words = "" if row["reason"] in SEVERAL else confidence_words(row["confidence"])
        sure = f"{escape(short_percent(row['confidence']))}<small>{words}</small>"
    verdict = _name(status, answer == "text").lower()
    is_wrong = label is not None and read != label
    truth = f'<em class="batch-truth">should be {escape(str(label))}</em>' if is_wrong else ""
    picture = f'<img src="{thumbnail}" alt="" width="48" height="48">' if thumbnail else ""
    return (
        f'<tr class="batch-{_class(status)}{" batch-wrong" if is_wrong else ""}"><td>{picture}</td>'
        f'<th scope="row">{escape(row["path"])}</th><td class="batch-digit">{shown}</td>'
        f"<td>{sure}</td>"
        f"<td><b>{verdict}</b> <span>{escape(row['reason'])}</span>{truth}</td></tr>"
    )


def _skipped(results: Results) -> str:
    """Name the files that were left out."""
    lines = "".join(
        f"<li>{escape(path)}: {escape(reason)}</li>" for path, reason in results.skipped()
    )
    count = lines.count("<li>")
    if not count:
        return ""
    files = f"{count_noun(count, 'other file')} {'was' if count == 1 else 'were'}"
    return f"<details><summary>{files} left out</summary><ul>{lines}</ul></details>"


def build_batch_tab(service: Service) -> None:
    """Lay out the tab, and wire it."""
    import gradio as gr

    gr.HTML(render_hint(INTRODUCTION), apply_default_css=False)
    shows = gr.Radio(SHOWS, value="digit", label="Each picture shows", elem_classes="choice")
    files = gr.File(
        label="Pictures, or zips of pictures",
        file_count="multiple",
        height=180,
        elem_id="batch-files",
    )
    gr.HTML(render_hint(LIMITS), apply_default_css=False)
    with gr.Row(elem_classes="actions"):
        example = gr.Button("Try it with drawn digits", size="md")
        stop = gr.Button("Stop", size="md", visible=False, elem_id="batch-stop")
        downloads = [
            gr.DownloadButton(f"Download {kind}", size="md", visible=False, elem_id=f"batch-{kind}")
            for kind in ("CSV", "JSON", "report")
        ]
    table = gr.HTML(
        value="",
        css_template=_read_file("batch_table.css"),
        js_on_load=_read_file("batch_table.js"),
        apply_default_css=False,
        elem_id="batch-results",
    )

    starts = [files.upload, example.click]
    # Said by the browser itself, as nothing comes from the server while it is busy with others.
    waiting = json.dumps(render_hint(WAITING))
    gr.on(starts, None, None, [table], js=f"() => {waiting}", **QUIET)
    stops = Stops()
    # One listener for both, so that a visitor has one batch at a time: two would take turns in
    # showing their tables.
    run = gr.on(
        starts,
        _with_buttons(partial(read_chosen, service), stops),
        [files, shows],
        [table, *downloads, stop, files, example],
        trigger_mode="once",
        show_progress="hidden",
        concurrency_limit=AT_ONCE,
        api_visibility="private",
    )
    # Not with the last step: between that and its end, Gradio would forget what starts a batch.
    run.then(None, None, [files, example], js=f"() => {json.dumps(_READY)}", **QUIET)
    failed = json.dumps([render_hint(FAILED), {"__type__": "update", "visible": False}, *_READY])
    run.failure(None, None, [table, stop, files, example], js=f"() => {failed}", **QUIET)
    stopping = json.dumps([render_hint(STOPPING), {"__type__": "update", "visible": False}])
    stop.click(None, None, [table, stop], js=f"() => {stopping}", **QUIET)
    stop.click(_for_page(stops.ask), None, None, **QUIET)


# What a browser makes of the two ways to begin, once a batch has ended; the uploads are gone then.
_READY = [
    {"__type__": "update", "value": None, "interactive": True},
    {"__type__": "update", "interactive": True},
]


def _with_buttons(
    read: Callable[..., Iterator[Shown]], stops: Stops
) -> Callable[..., Iterator[tuple]]:
    """Show the buttons that make sense after each step of a reader."""
    import gradio as gr

    def step(files: Sequence[str] | None, shows: str, request: Any) -> Iterator[tuple]:
        with stops.give(request.session_hash) as stop:
            for shown in read(files, shows, stop):
                yield (
                    shown.page,
                    *(
                        gr.update(value=file, visible=file is not None)
                        for file in (shown.csv, shown.json, shown.report)
                    ),
                    gr.update(visible=shown.is_running),
                    gr.update(interactive=False),
                    gr.update(interactive=False),
                )

    step.__annotations__["request"] = gr.Request  # by which Gradio knows that it is wanted
    return step


def _for_page(act: Callable[[str | None], None]) -> Callable[[Any], None]:
    """Make a handler that does something for the page from which it is called."""
    import gradio as gr

    def handle(request: Any) -> None:
        act(request.session_hash)

    handle.__annotations__["request"] = gr.Request
    return handle


def _read_file(name: str) -> str:
    """Read a file for the browser that lies beside this one."""
    return (HERE / name).read_text(encoding="utf-8")
