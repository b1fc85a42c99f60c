"""The same rows from many machines: a batch read with Ray Data.

    inputs -> groups -> Ray Data: actors, each with the network and a worker -> rows in order

There are two ways to use it. With `batch_processor.py --engine ray` the rows come back to one
SQLite file, and resume, report and all formats are those of the local engine. That is good for
some hundred million pictures. For more, this file writes Parquet parts and keeps nothing else:

    $ pip install -r requirements-ray.txt
    $ RAY_ADDRESS=auto python batch_ray.py s3://bucket/scans /shared/parts

On a cluster, `RAY_ADDRESS` says where it is; without it Ray runs on this machine. The machines
need the packages of requirements.txt; our code and models are sent to them. Sources have to be
where all of them can read: a shared folder, or an address such as s3://bucket/folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from batch_answers import DIGITS
from batch_formats import arrow_schema, in_groups
from batch_input import Input, Source
from batch_numbers import NUMBERS
from batch_rows import PRIVATE_COLUMNS, Row
from batch_runs import read_settings, write_settings
from batch_sources import open_source
from batch_task import Task
from batch_workers import Answer, WorkerPool
from errors import DataFormatError, SettingsError
from model import FORWARD_BATCH
from predict import MNISTPredictor
from utils import PROJECT, HelpFormatter, atomic_write, report_errors, set_up_logging

log = logging.getLogger(__name__)

SETTINGS_FILE = "settings.json"  # beside the parts
_NOT_FOR_THE_CLUSTER = [".venv", ".git", "data", "outputs", "predictions"]


class Actor:
    """An actor: the network, and one worker process that prepares what the network reads next.

    Parameters
    ----------
    model : str
        A checkpoint, absolute or below the project's folder.
    batch_size : int
        Pictures in one forward pass.
    with_hash : bool
        Whether to compute checksums.
    task : Task
        What is read.
    """

    def __init__(self, model: str, batch_size: int, with_hash: bool, task: Task) -> None:
        torch.set_num_threads(1)
        self.predictor = MNISTPredictor(PROJECT / model)
        self.batch_size = batch_size
        self.task = task
        reader = task.make_reader(lambda: self.predictor)
        self.pool = WorkerPool(task.workers_of_actor, with_hash=with_hash, reader=reader)

    def __call__(self, batch: dict[str, np.ndarray]) -> Any:
        """Turn columns `position` and `input` (pickled) into a table of rows."""
        items = [pickle.loads(content) for content in batch["input"]]
        answered = list(self.pool.answer((item, None) for item in items))
        rows, _ = self.task.make_rows(answered, self.predictor, self.batch_size)
        found = iter(rows)
        columns = self.task.all_columns
        whole = [
            _row_of_skipped(item, answer, columns) if answer.status == "skipped" else next(found)
            for item, answer in answered
        ]
        return _to_table(batch["position"].tolist(), whole, columns)


def _row_of_skipped(item: Input, answer: Answer, columns: Iterable[str]) -> Row:
    """Give a file that is no picture the form of a row."""
    about = {"path": item.path, "status": "skipped", "reason": answer.reason}
    return dict.fromkeys(columns) | about


def _to_table(positions: list[int], rows: list[Row], columns: dict[str, str]) -> Any:
    """Make an Arrow table of the rows of a batch, with their positions in the group."""
    import pyarrow  # type: ignore[import, unused-ignore]

    numbered = [{"position": n, **row} for n, row in zip(positions, rows, strict=True)]
    return pyarrow.Table.from_pylist(numbered, arrow_schema({"position": "INTEGER"} | columns))


class RayPool:
    """Stands in for `batch_workers.WorkerPool`, but its answers are finished rows.

    Parameters
    ----------
    predictor : MNISTPredictor
        Whose checkpoint the actors load.
    workers : int, optional
        How many actors, 1 or more; by default one for each processor of the cluster.
    batch_size : int, default=256
        Pictures in one forward pass.
    with_hash : bool, default=False
        Whether to compute checksums.
    task : Task, default=DIGITS
        What is read.

    Raises
    ------
    SettingsError
        If Ray is not installed, or there are fewer than one worker.

    Attributes
    ----------
    group_size : int
        How many inputs are handed to Ray at once; depends on the number of workers.
    settings : dict
        What the rows depend on: the model and its version, and what is read.
    """

    def __init__(
        self,
        predictor: MNISTPredictor,
        workers: int | None = None,
        *,
        batch_size: int = FORWARD_BATCH,
        with_hash: bool = False,
        task: Task = DIGITS,
    ) -> None:
        if workers is not None and workers < 1:
            raise SettingsError(f"workers {workers}: choose 1 or more")
        self._ray = _start_ray()
        self._workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        path = predictor.checkpoint.path.resolve()
        # The project has another place on each machine of a cluster.
        model = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
        batch_size = min(batch_size, task.most_dealt or batch_size)
        self._arguments = (str(model), batch_size, with_hash, task)
        self.group_size = task.group_of_actor * self._workers
        self.settings = {  # by the names of the flags
            "model": path.stem,
            "model_version": predictor.checkpoint.version,
            "number": task.numbers,
            "sha256": with_hash,
        }

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        """Ray itself stays: it may be shared, and ends with this process if it is our own."""

    def answer(self, pairs: Iterable[tuple[Input, Any]]) -> Iterator[tuple[Input, Any]]:
        """Read inputs; see `batch_workers.WorkerPool.answer`.

        Yields
        ------
        (Input, row or Answer)
            A finished row; an Answer only for what is left out.
        """
        for group in in_groups(pairs, self.group_size):
            rows = iter(self._rows([item for item, answer in group if answer is None]))
            for item, answer in group:
                yield item, next(rows) if answer is None else answer

    def _rows(self, items: list[Input]) -> Iterator[Row | Answer]:
        """Read a group and give its rows in order."""
        if not items:
            return
        for table in self._tables(items):
            for row in table.drop_columns("position").to_pylist():
                is_skipped = row["status"] == "skipped"
                yield Answer(status="skipped", reason=row["reason"]) if is_skipped else row

    def read(self, items: list[Input]) -> Any:
        """Read a group with Ray Data.

        Returns
        -------
        pyarrow.Table
            One row for each input, in their order: `position` in the group, the columns of
            `batch_rows.COLUMNS` (or `NUMBER_COLUMNS`) and the private ones. `status` may also be
            "skipped".
        """
        import pyarrow  # type: ignore[import, unused-ignore]

        return pyarrow.concat_tables(self._tables(items))

    def _tables(self, items: list[Input]) -> Iterator[Any]:
        """Stream the rows of a group, a table for each batch, in the order of the inputs."""
        batch_size = self._arguments[1]
        named = [{"position": n, "input": pickle.dumps(item)} for n, item in enumerate(items)]
        rows = self._ray.data.from_items(
            named, override_num_blocks=max(self._workers, len(items) // batch_size)
        ).map_batches(
            Actor,
            fn_constructor_args=self._arguments,
            batch_size=batch_size,
            compute=self._ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=1,
        )
        count = 0
        for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
            positions = table["position"].to_pylist()
            # A row in the place of another is the one thing that must never happen.
            assert positions == list(range(count, count + len(table))), "Ray changed the order"
            count += len(table)
            yield table
        assert count == len(items), "Ray lost rows"


def _start_ray() -> Any:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine."""
    try:
        import ray  # type: ignore[import, unused-ignore]
        import ray.data  # type: ignore[import, unused-ignore]
    except ImportError as error:
        raise SettingsError(
            "the Ray engine needs Ray: pip install -r requirements-ray.txt"
        ) from error
    for name in ("ray", "ray.data"):  # which would tell the user about settings of our own choice
        logging.getLogger(name).setLevel(logging.ERROR)
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **_place())
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    return ray


def _place() -> dict[str, Any]:
    """Say where Ray runs: on a cluster, which needs our code, or on this machine by itself."""
    if "RAY_ADDRESS" in os.environ:
        return {"runtime_env": {"working_dir": str(PROJECT), "excludes": _NOT_FOR_THE_CLUSTER}}
    return {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}


def write_parts(source: Source, folder: Path, pool: RayPool) -> int:
    """Read a source into Parquet files, each with the rows of one group in their order.

    A part that is there already is not read again, so the same command goes on after an
    interruption, also with another number of workers: `settings.json` beside the parts keeps the
    size of the groups, and other settings are refused. (It trusts that the files of the source
    have not changed; delete a part to have it read anew.)

    Parameters
    ----------
    source : Source
        What to read.
    folder : Path
        Where `settings.json`, `part-000000.parquet` and so on are written.
    pool : RayPool
        Who reads.

    Returns
    -------
    int
        How many rows were written now.

    Raises
    ------
    SettingsError
        If the folder holds parts of another source or model, or with other settings, or the source
        is standard input and there are parts already.
    DataFormatError
        If the file of settings there is damaged.
    OutputError
        If a part cannot be written; those before are whole.
    """
    import pyarrow.parquet  # type: ignore[import, unused-ignore]

    group_size = _agree_on_groups(source, folder, pool)
    count = 0
    for number, items in enumerate(in_groups(source.read(), group_size)):
        part = folder / f"part-{number:06}.parquet"
        if part.exists():
            log.info("%s is there already", part)
            continue
        table = pool.read(items).drop_columns(["position", *PRIVATE_COLUMNS])
        with atomic_write(part) as temporary:
            pyarrow.parquet.write_table(table, temporary)
        count += len(table)
        log.info("%s: %s rows", part, f"{len(table):,}")
    return count


def _agree_on_groups(source: Source, folder: Path, pool: RayPool) -> int:
    """Write the settings beside the first part, or compare; give the size of all the groups."""
    path = folder / SETTINGS_FILE
    settings = {"source": source.where, **pool.settings}
    if not path.exists():
        if any(folder.glob("part-*.parquet")):
            raise SettingsError(
                f"{folder} holds parts, but no {SETTINGS_FILE} that says what they were made of: "
                "name another folder, or delete the parts"
            )
        write_settings(path, {**settings, "group_size": pool.group_size})
        return pool.group_size
    source.check_resumable()
    before = read_settings(path)
    others = [name for name, value in settings.items() if before.get(name) != value]
    if others:
        made = ", ".join(f"{name} {before.get(name)!r}, not {settings[name]!r}" for name in others)
        raise SettingsError(
            f"{folder} holds parts made with {made}: go on with the same, or name another folder"
        )
    group_size = before.get("group_size")
    if not isinstance(group_size, int) or group_size < 1:
        raise DataFormatError(f"{path}: group_size is {group_size!r}; name another folder")
    return group_size


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Read very many pictures on a Ray cluster into Parquet parts.",
        epilog="examples:\n"
        "  python batch_ray.py my_digits parts\n"
        "  RAY_ADDRESS=auto python batch_ray.py s3://bucket/scans /shared/parts",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("source", help="as for batch_processor.py; readable from every machine")
    parser.add_argument("folder", type=Path, help="where the parts are written")
    parser.add_argument("--model", default="best", help="name in models/, or a checkpoint's path")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="actors (default: one for each processor)"
    )
    parser.add_argument("--sha256", action="store_true", help="add each file's checksum")
    parser.add_argument("--number", action="store_true", help="pictures show several digits")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the parts and say how many rows they have."""
    task = NUMBERS if args.number else DIGITS
    source = open_source(args.source, numbers=task.numbers)
    pool = RayPool(MNISTPredictor(args.model), args.workers, with_hash=args.sha256, task=task)
    count = write_parts(source, args.folder, pool)
    print(f"{count:,} rows written to {args.folder}")
    return 0


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    set_up_logging()
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
