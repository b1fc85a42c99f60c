"""Read a whole folder of pictures: a trustworthy table of answers, one row for each picture.

    sources -> worker processes: open, prepare -> one forward pass for 256 -> rows on the disk
                                                                        -> CSV, JSON, report

    >>> processor = BatchProcessor()
    >>> results = processor.process_folder("./my_digits/")
    >>> processor.save_results_csv(); processor.save_results_json(); processor.print_summary()

    $ python batch_processor.py my_digits
    $ python batch_processor.py my_digits --resume    # go on after an interruption

Everything streams, so a million pictures need no more memory than ten thousand. The rows are the
same, in the same order, whatever the number of workers, and whether or not the run was stopped
and taken up again. Each run has its own folders and never mixes with another:

    predictions/logs/<run>/     rows.sqlite (the rows as they come), config.json, run.log
    predictions/reports/<run>/  results.csv, results.json, report.html, summary.json
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import logging
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from batch_answers import DIGITS
from batch_formats import WRITERS, write_skipped
from batch_input import Input, Source
from batch_numbers import NUMBERS
from batch_progress import Progress, stop_on_signal
from batch_report import write_report
from batch_rows import (
    STATUSES,
    Results,
    Row,
    RowStore,
)
from batch_runs import Run, diary, find_run, make_run
from batch_sources import (
    count_endings,
    explain_nothing,
    open_source,
)
from batch_summary import explain_correct, summarise_run
from batch_task import Answered, Rows, Task
from batch_workers import WorkerPool
from errors import DataNotFoundError, OutputError, SettingsError
from labels import LABEL_RULES
from utils import (
    INTERRUPTED,
    HelpFormatter,
    atomic_write,
    check_crowd,
    count_noun,
    count_processors,
    find_unfinished,
    one_line,
    report_errors,
    set_up_logging,
)

if TYPE_CHECKING:
    from batch_ray import RayPool
    from predict import MNISTPredictor

log = logging.getLogger(__name__)

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")

OUTPUT = Path("predictions")
SKIPPED = "skipped.csv"  # names the files that are no pictures
ENGINES = ("local", "ray")
BATCH_SIZE = 256  # as model.FORWARD_BATCH; importing that would bring PyTorch along
FLUSH_SECONDS = 1.0  # rows of slow pictures do not wait until a batch is full


@dataclass(frozen=True)
class BatchSettings:
    """How a run reads; saved beside its rows as `config.json`.

    Attributes
    ----------
    batch_size : int
        Pictures in one forward pass.
    recursive : bool
        Whether to go into subfolders.
    labels : {"auto", "names", "none"}
        Where known digits come from; see `batch_sources.open_source`.
    with_hash : bool
        Whether rows carry the SHA-256 of their file.
    numbers : bool
        Whether pictures show numbers of several digits; rows then have `NUMBER_COLUMNS`.
    """

    batch_size: int = BATCH_SIZE
    recursive: bool = True
    labels: str = "auto"
    with_hash: bool = False
    numbers: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingsError(f"batch size {self.batch_size}: choose 1 or more")

    @property
    def task(self) -> Task:
        """What is read in each picture."""
        return NUMBERS if self.numbers else DIGITS


class BatchProcessor:
    """Reads folders, lists and archives of pictures, and keeps the rows of the last run.

    Parameters
    ----------
    model : str, path or MNISTPredictor, default="best"
        A name in `models/`, a checkpoint, or a predictor that is loaded already.
    output : path, default="predictions"
        Where the folders `logs` and `reports` are made.
    workers : int, optional
        Processes that open and prepare pictures; by default one for each processor that this
        program may use, and 0 does it all in this process.
    engine : {"local", "ray"}, default="local"
        "ray" reads on a Ray cluster (see `batch_ray.py`) and gives the same rows.
    device : str, default="auto"
        Where the network runs; see `utils.pick_device`.
    progress : bool, default=True
        Whether to show a bar (or, where there is no terminal, a line now and then) on stderr.
    **settings
        As in `BatchSettings`.

    Attributes
    ----------
    results : Results
        The rows of the last run: a list that stays on the disk; see `batch_rows.Results`.

    Examples
    --------
    >>> processor = BatchProcessor(labels="names")
    >>> results = processor.process("scans.zip")
    >>> print(len(results), results[0]["digit"])
    >>> BatchProcessor(numbers=True).process("meters")[0]["text"]
    '00417'
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | MNISTPredictor = "best",
        *,
        output: str | os.PathLike[str] = OUTPUT,
        workers: int | None = None,
        engine: str = "local",
        device: str = "auto",
        progress: bool = True,
        **settings: Any,
    ) -> None:
        self.model = model
        self.output = Path(output)
        self.workers = workers
        self.engine = engine
        self.device = device
        self.progress = progress
        self.settings = BatchSettings(**settings)
        self.interrupted = False
        self._run: Run | None = None
        self._fresh = 0
        self._seconds = 0.0
        if engine not in ENGINES:
            raise SettingsError(f"engine {engine!r}: choose one of {', '.join(ENGINES)}")
        if workers is not None and engine == "local":  # a cluster has more processors than we see
            check_crowd("workers", workers)

    def process_folder(self, folder: str | os.PathLike[str], *, resume: bool = False) -> Results:
        """Read every picture in a folder and its subfolders.

        Raises
        ------
        DataNotFoundError
            If it is not a folder, or there is no picture in it.
        """
        if open_source(folder).kind != "folder":
            raise DataNotFoundError(f"{folder}: no such folder; for other sources use process()")
        return self.process(folder, resume=resume)

    def process(self, source: str | os.PathLike[str], *, resume: bool = False) -> Results:
        """Read everything in a source.

        Ctrl-C finishes the rows in flight and returns; `interrupted` tells, and the run can be
        taken up again. A second Ctrl-C raises KeyboardInterrupt, which costs at most the rows of
        a second.

        Parameters
        ----------
        source : str or path
            A folder, glob, list, manifest, archive or picture; see `batch_sources.open_source`.
        resume : bool, default=False
            Go on with the last run of this source, if there is one: unchanged files that the
            same model has read keep their rows, all others (also those that gave an error) are
            read now.

        Returns
        -------
        Results
            One row for each input, in a stable order: a list of dicts that stays on the disk.

        Raises
        ------
        DataNotFoundError, DataFormatError
            If there is no such source or no picture in it, or it is a table without paths or a
            damaged archive.
        SettingsError
            If it is to go on with standard input, whose lists cannot be told from each other, or
            without checksums with a run that has them.
        ModelNotFoundError, CheckpointError
            If the model cannot be loaded.
        OutputError
            If the rows cannot be written; those written before are intact.
        """
        settings = self.settings
        found = open_source(
            source, recursive=settings.recursive, labels=settings.labels, numbers=settings.numbers
        )
        if resume:
            found.check_resumable()
        inputs = found.read()
        first = next(inputs, None)
        if first is None:  # said before anything is made or loaded
            raise DataNotFoundError(explain_nothing(os.fspath(source), found.kind))
        with self._start_pool() as pool:
            predictor = self._load()
            earlier = self._find_earlier(found) if resume else None
            self._run = run = earlier or make_run(self.output, found.name)
            with contextlib.closing(self._open_rows(run, found, bool(earlier))) as store:
                self._save_config(run, found, predictor)
                with run.keep_diary():
                    self._read(found, itertools.chain([first], inputs), pool, predictor, store)
        if not (store.count or self.interrupted):
            others = count_endings(path for path, _ in self.results.skipped())
            if not earlier:
                self._forget(run)
            raise DataNotFoundError(explain_nothing(os.fspath(source), found.kind, others))
        if earlier:
            _remove_files(run.reports)
        return self.results

    def _find_earlier(self, source: Source) -> Run | None:
        """Find the last run of the same source, and refuse to mix its rows with others.

        Another model or `--sha256` has pictures read anew, labels and subfolders are those of
        today, and numbers are a run of their own: only checksums cannot be taken out again without
        a loss.
        """
        run = find_run(self.output, {"source": source.where, "numbers": self.settings.numbers})
        if run and run.read_config().get("with_hash") and not self.settings.with_hash:
            raise SettingsError(
                f"the run {run.name} was made with checksums, and rows without would mix with its "
                "rows: add --sha256 (in Python with_hash=True), or begin anew without --resume"
            )
        return run

    def _open_rows(self, run: Run, source: Source, is_earlier: bool) -> RowStore:
        """Open the rows of a run, which may spell the same source in another way."""
        before = run.read_config().get("start", source.start) if is_earlier else source.start
        return RowStore(run.rows, self.settings.task.columns, starts=(before, source.start))

    def _forget(self, run: Run) -> None:
        """Remove the folders of a run that has found nothing."""
        self._run = None
        for folder in (run.rows.parent, run.reports):
            shutil.rmtree(folder)

    def _save_config(self, run: Run, source: Source, predictor: MNISTPredictor) -> None:
        """Write down what is read, with which network and settings."""
        checkpoint = predictor.checkpoint
        run.save_config(
            {
                "source": source.where,
                "start": source.start,
                "kind": source.kind,
                "model": checkpoint.path.stem,
                "model_version": checkpoint.version,
                **asdict(self.settings),
            }
        )

    def _start_pool(self) -> WorkerPool | RayPool:
        """Start what opens the pictures: processes of this machine, or a cluster."""
        if self.engine == "local":
            # Workers that need no network start while it is loaded.
            workers = count_processors() if self.workers is None else self.workers
            reader = self.settings.task.make_reader(self._load)
            return WorkerPool(workers, with_hash=self.settings.with_hash, reader=reader)
        from batch_ray import RayPool  # most people have no Ray

        return RayPool(
            self._load(),
            self.workers or None,
            batch_size=self.settings.batch_size,
            with_hash=self.settings.with_hash,
            task=self.settings.task,
        )

    def _load(self) -> MNISTPredictor:
        """Load the network, once for all runs."""
        # PyTorch takes a second or more to import: meanwhile the workers start, and whoever asks
        # for help or names a folder that is not there does not wait for it.
        from predict import MNISTPredictor

        if not isinstance(self.model, MNISTPredictor):
            self.model = MNISTPredictor(self.model, device=self.device)
        return self.model

    def _read(
        self,
        source: Source,
        inputs: Iterable[Input],
        pool: WorkerPool | RayPool,
        predictor: MNISTPredictor,
        store: RowStore,
    ) -> None:
        """Turn the stream of inputs into rows on the disk."""
        started = time.perf_counter()
        self._fresh = 0
        with (
            _one_thread(),
            stop_on_signal() as stop,
            Progress(source, self.progress) as progress,
        ):
            inputs = itertools.takewhile(lambda _: not stop.is_set(), inputs)
            find = functools.partial(self._find_row, predictor=predictor, store=store)
            is_kept: deque[bool] = deque()  # for each input in flight: it has a row of before
            pairs = _look_up(inputs, find, is_kept)
            batches = _in_batches(pool.answer(pairs), self.settings.batch_size)
            make = functools.partial(self._make_rows, predictor=predictor)
            for rows, skipped in _at_once(make, batches, 1 + count_processors() // 2):
                store.add(rows, skipped)
                errors = [row for row in rows if row["status"] == "error"]
                done = len(rows) + len(skipped)
                kept = sum(is_kept.popleft() for _ in range(done))
                self._fresh += len(rows) - kept
                progress.update(done, len(errors), kept)
                for row in errors:
                    diary.info("%s: %s", one_line(row["path"]), one_line(row["reason"]))
            self.interrupted = stop.is_set()
        if not self.interrupted:
            store.finish()
        self._seconds = time.perf_counter() - started

    def _find_row(self, item: Input, predictor: MNISTPredictor, store: RowStore) -> Row | None:
        """Find the row that an input had in an earlier run, if it would be the same now."""
        checkpoint = predictor.checkpoint
        row = store.find_earlier(item, checkpoint.version, with_hash=self.settings.with_hash)
        # A copy of the same weights has another name: that of today, as in all other rows.
        return row and {**row, "model": checkpoint.path.stem}

    def _make_rows(self, batch: list[Answered], predictor: MNISTPredictor) -> Rows:
        """Turn what the workers found into rows, and the files that are no pictures."""
        return self.settings.task.make_rows(batch, predictor, self.settings.batch_size)

    @property
    def results(self) -> Results:
        """The rows of the last run."""
        return Results(self._last_run().rows)

    def summary(self) -> dict[str, Any]:
        """Count what the last run found; see `batch_summary.summarise` for most of the keys."""
        run = self._last_run()
        about = {"run": run.name, **run.read_config(), "interrupted": self.interrupted}
        return summarise_run(self.results, about, read_now=self._fresh, seconds=self._seconds)

    def save_results_csv(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the rows as CSV; by default to results.csv in the run's report folder."""
        return self.save("csv", path)

    def save_results_json(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the rows as one JSON list; by default to results.json in the report folder."""
        return self.save("json", path)

    def save(self, form: str, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the rows in a format.

        Parameters
        ----------
        form : {"csv", "json", "jsonl", "parquet", "submission"}
            "submission" is what Kaggle takes.
        path : path, optional
            By default `results.<form>` in the run's report folder.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        SettingsError
            If there is no such format, or a package that it needs is missing.
        DataFormatError
            If it is a submission, and a picture has no digit.
        OutputError
            If the file cannot be written; the rows stay safe.
        """
        if form not in WRITERS:
            raise SettingsError(f"format {form!r}: choose one of {', '.join(WRITERS)}")
        run = self._last_run()
        target = Path(path) if path is not None else run.reports / _name_file(form)
        try:
            return WRITERS[form](self.results, target)
        except OutputError as error:
            raise OutputError(
                f"{error}; the rows are safe in {run.rows}: make room or allow writing, "
                "then run again with --resume"
            ) from error

    def save_report(self) -> Path:
        """Write report.html, summary.json and, if files were left out, skipped.csv."""
        run = self._last_run()
        summary = self.summary()
        with atomic_write(run.reports / "summary.json") as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        if summary["skipped"]:
            write_skipped(self.results, run.reports / SKIPPED)
        return write_report(self.results, summary, run.reports / "report.html")

    def print_summary(self) -> None:
        """Print what the last run found, and where it is."""
        print(describe(self.summary(), self._last_run().reports))

    def _last_run(self) -> Run:
        """Give the last run, or say that there is none."""
        if self._run is None:
            raise SettingsError("nothing has been read yet: call process_folder() first")
        return self._run


def _name_file(form: str) -> str:
    """Say what the file of a format is called."""
    return "submission.csv" if form == "submission" else f"results.{form}"


def _remove_files(folder: Path) -> None:
    """Remove what the same run wrote before it was taken up again.

    Not all of it is written anew: another `--format` may be asked for, a submission refused, and
    nothing left out any more. What was half written when the run was killed goes, too. What people
    put beside it, such as their review, stays.

    Raises
    ------
    OutputError
        If a file cannot be removed.
    """
    names = ("report.html", "summary.json", SKIPPED, *map(_name_file, WRITERS))
    paths = [folder / name for name in names]
    for path in itertools.chain(paths, *map(find_unfinished, paths)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot remove {path}, which is out of date: {error.strerror}; close or remove it"
            ) from error


def _look_up(
    inputs: Iterable[Input], find: Callable[[Input], Row | None], is_kept: deque[bool]
) -> Iterator[tuple[Input, Row | None]]:
    """Give each input with its row of before, if there is one, and note whether there is."""
    for item in inputs:
        row = find(item)
        is_kept.append(row is not None)
        yield item, row


def _in_batches(answers: Iterable[Answered], size: int) -> Iterator[list[Answered]]:
    """Group answers into batches: full ones, or what has come within a second."""
    batch: list[Answered] = []
    started = time.monotonic()
    for answered in answers:
        batch.append(answered)
        if len(batch) == size or time.monotonic() - started > FLUSH_SECONDS:
            yield batch
            batch, started = [], time.monotonic()
    if batch:
        yield batch


def _at_once(
    work: Callable[[_Thing], _Result], things: Iterable[_Thing], threads: int
) -> Iterator[_Result]:
    """Do some work on things, on several at once; give what came of them in their order.

    With two workers on two processors and small pictures, the network has more to do than either:
    in one thread it was what everything waited for.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Result]] = deque()
        for thing in things:
            waiting.append(pool.submit(work, thing))
            while waiting and (len(waiting) > threads or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let each forward pass have one thread: others run beside it, and the workers.

    Threads that wait for each other while other processes hold the processors waste both: with
    two workers on two processors, two threads in a pass took twice the processor time of one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe(summary: dict[str, Any], folder: Path) -> str:
    """Put a summary into a few lines for people."""
    counts = ", ".join(f"{summary[status]:,} {status}" for status in STATUSES)
    lines = [
        f"{count_noun(summary['pictures'], 'picture')}: {counts}",
        f"{summary['read_now']:,} read in {summary['seconds']:,.1f} s "
        f"({summary['pictures_per_second']:,.0f} a second) with {summary['model']}",
    ]
    if summary["labelled"]:
        but = explain_correct(summary)
        lines.append(
            f"accuracy {summary['accuracy']:.2%}: {summary['correct']:,} of "
            f"{summary['labelled']:,} with a known {'number' if summary['numbers'] else 'digit'}"
            f"{but and f'; of the right ones {but}'}"
        )
    if summary["skipped"]:
        files = count_noun(summary["skipped"], "other file")
        lines.append(f"{files} left out, named in {SKIPPED}")
    lines += [
        f"  {reason['count']:,} x {reason['reason']} (such as {reason['example']})"
        for reason in summary["reasons"]
    ]
    if summary["interrupted"] and summary["kind"] == "stdin":
        lines.append("interrupted: to be able to go on, save the names as a file and read that")
    elif summary["interrupted"]:
        lines.append("interrupted: the same command with --resume goes on from here")
    return "\n".join(map(one_line, [*lines, f"results in {folder}"]))


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Read every picture in a folder, a list or an archive into a table.",
        epilog="examples:\n"
        "  python batch_processor.py my_digits\n"
        "  python batch_processor.py my_digits --resume --format csv parquet\n"
        "  python batch_processor.py scans.zip --workers 8\n"
        "  find . -name '*.png' | python batch_processor.py -\n"
        "  python batch_processor.py test.csv --format submission\n"
        "  python batch_processor.py meters --number",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "source",
        help="folder, glob in quotes, list (.txt), manifest (.csv with a column 'path'), .zip, "
        ".tar, Kaggle's .csv, one picture, or - for names on standard input",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the last run of this source (not of -)"
    )
    parser.add_argument(
        "--number", action="store_true", help="pictures show several digits, maybe in lines"
    )
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results")
    parser.add_argument(
        "--format", nargs="+", choices=WRITERS, default=["csv", "json"], help="files to write"
    )
    parser.add_argument(
        "--labels",
        choices=LABEL_RULES,
        default="auto",
        help="where known digits come from: auto = a manifest's column or a folder named by a "
        "digit, names = file names such as 7_12.png",
    )
    parser.add_argument("--sha256", action="store_true", help="add each file's checksum")
    parser.add_argument(
        "--no-recursive", dest="recursive", action="store_false", help="leave subfolders out"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that open pictures (default: one for each processor)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="pictures in one pass"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, default="local", help="ray = on a cluster, see batch_ray.py"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def run(args: argparse.Namespace) -> int:
    """Read the source and write the files; 1 if a picture could not be read, 130 if stopped."""
    if args.number and "submission" in args.format:
        raise SettingsError("a submission has one digit for each picture: read without --number")
    processor = BatchProcessor(
        args.model,
        output=args.output,
        workers=args.workers,
        engine=args.engine,
        device=args.device,
        progress=not args.quiet,
        batch_size=args.batch_size,
        recursive=args.recursive,
        labels=args.labels,
        with_hash=args.sha256,
        numbers=args.number,
    )
    processor.process(args.source, resume=args.resume)
    for form in args.format:
        if form != "submission":
            processor.save(form)
    processor.save_report()
    with contextlib.suppress(BrokenPipeError):  # whoever reads no further has the files
        processor.print_summary()
    if "submission" in args.format:  # last: it is refused where a picture has no digit
        processor.save("submission")
    if processor.interrupted:
        return INTERRUPTED
    return int(bool(processor.summary()["error"]))


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    set_up_logging()
    try:
        return run(args)
    except KeyboardInterrupt:
        print("stopped; what was written is safe, --resume goes on", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
