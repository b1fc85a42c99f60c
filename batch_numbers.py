"""Numbers of several digits in a batch: a picture in, its digits in reading order as a row out.

    chunk of Input -> a worker with the network: open, find the digits, read them -> rows

Reading a number asks the network again and again (which cut is best, which side is up), so here
the workers hold the network. Each picture is read by itself: its row does not depend on which
worker reads it, on how many there are, or on the engine.

    >>> find_number(Input("phone.jpg", "phone.jpg"), MNISTPredictor()).text
    '0176543210'
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import batch_workers
from batch_input import Input
from batch_rows import NUMBER_COLUMNS, Row
from batch_task import Answered, Rows, Task, begin_row, fill_rows
from batch_workers import Answer, Reader, measure_size, source_of
from errors import CheckpointError
from preprocess import FIELD

if TYPE_CHECKING:
    from predict import MNISTPredictor

CHUNK_FILES = 4  # a page takes up to a second
LIMIT_S = 120.0  # of processor time for a page; one that has to be turned takes a few seconds
DECIMALS = 6  # as in batch_answers.py


@dataclass(frozen=True)
class FoundNumber:
    """What was read in a picture.

    Attributes
    ----------
    text : str
        The digits in reading order, with a space between lines; empty if there is none.
    verdict, reason : str
        As in `reading.Reading`.
    confidence : float or None
        Of the digit that is least sure.
    count : int
        Of digits.
    turn : int
        Degrees by which the picture was turned counter-clockwise to be read.
    width, height : int or None
        Of the picture, upright, in pixels.
    """

    text: str
    verdict: str
    reason: str
    confidence: float | None
    count: int
    turn: int
    width: int | None
    height: int | None


def find_number(item: Input, predictor: MNISTPredictor) -> FoundNumber:
    """Read the number in an input.

    Raises
    ------
    ImageError
        If it cannot be read, or is blank.
    """
    source = source_of(item)
    if item.is_raw:
        assert isinstance(source, bytes)  # what is raw is in memory
        reading = predictor.read(np.frombuffer(source, np.uint8).reshape(FIELD, FIELD))
    else:
        reading = predictor.read(source)
    width, height = (FIELD, FIELD) if item.is_raw else measure_size(source)
    least = reading.least_confidence
    return FoundNumber(
        text=" ".join(reading.lines),
        verdict=reading.verdict,
        reason=reading.reason,
        confidence=None if least is None else round(least, DECIMALS),
        count=len(reading.digits),
        turn=reading.turn,
        width=width,
        height=height,
    )


def read_numbers(predictor: MNISTPredictor) -> Reader:
    """Say how workers read numbers with the network of a predictor."""
    checkpoint = predictor.checkpoint
    return Reader(
        find=functools.partial(find_number, predictor=predictor),
        module=__name__,
        arguments=(str(checkpoint.path.resolve()), checkpoint.version, str(predictor.device)),
        chunk_files=CHUNK_FILES,
    )


def serve(path: str, version: str, device: str) -> None:
    """Be a worker that holds the network; see `batch_workers.serve`."""
    batch_workers.serve(functools.partial(_load, path, version, device), limit_s=LIMIT_S)


def _load(path: str, version: str, device: str) -> Callable[[Input], Any]:
    """Load the network that the rows will name.

    Raises
    ------
    CheckpointError
        If the file has been replaced since the parent loaded it.
    """
    import torch

    from predict import MNISTPredictor

    torch.set_num_threads(1)
    predictor = MNISTPredictor(path, device=device)
    if predictor.checkpoint.version != version:
        raise CheckpointError(f"{path}: replaced while the batch started; start it again")
    return functools.partial(find_number, predictor=predictor)


def make_number_rows(batch: list[Answered], predictor: MNISTPredictor, _: int) -> Rows:
    """Turn what workers found into rows of `NUMBER_COLUMNS`, and the files that are no pictures."""

    def make_row(item: Input, answer: Answer) -> Row:
        return begin_row(item, answer, predictor.checkpoint) | _say(answer.prepared)

    return fill_rows(batch, make_row)


def _say(found: FoundNumber | None) -> Row:
    """Put what was found into the columns of a row."""
    if found is None:
        return dict.fromkeys(("text", "confidence", "count", "turn"))
    return {
        "status": found.verdict,
        "text": found.text,
        "confidence": found.confidence,
        "count": found.count,
        "reason": found.reason,
        "turn": found.turn,
    }


def _read_loaded(load: Callable[[], MNISTPredictor]) -> Reader:
    """Say how workers read numbers, once the network is there."""
    return read_numbers(load())


NUMBERS = Task(
    numbers=True,
    columns=NUMBER_COLUMNS,
    make_reader=_read_loaded,
    make_rows=make_number_rows,
    workers_of_actor=0,
    group_of_actor=1_000,  # pages take much longer,
    most_dealt=16,  # so they are dealt out by the handful
)
