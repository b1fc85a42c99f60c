"""What is read in each picture of a batch: one digit, or a number of several.

    --number or not -> NUMBERS or DIGITS -> its columns, how workers read, how rows are made

Each door chooses a `Task` once, from its flag, and then asks the task. The two that there are
stand where their rows are made: `batch_answers.DIGITS` and `batch_numbers.NUMBERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batch_input import Input
from batch_rows import PRIVATE_COLUMNS, Row
from batch_workers import Answer, Reader

if TYPE_CHECKING:
    from registry import Checkpoint

Answered = tuple[Input, Answer | Row]  # an input with what was found now, or its finished row
Rows = tuple[list[Row], list[tuple[str, str]]]  # and the files that are no pictures, with reasons


@dataclass(frozen=True, eq=False)
class Task:
    """What a batch reads, and how.

    Attributes
    ----------
    numbers : bool
        Whether pictures show numbers of several digits: then labels are texts.
    columns : mapping
        What a row shows, with SQLite's types.
    make_reader : callable
        Says what workers do. Is given a function that loads the predictor, for those that need it.
    make_rows : callable
        From a list of `Answered`, the predictor and the number of pictures in a forward pass to
        `Rows`.
    workers_of_actor : int
        How many processes an actor of a cluster has for opening pictures; 0 if whoever opens them
        also has to hold the network.
    group_of_actor : int
        How many inputs an actor reads before it starts anew, which takes it some seconds: about a
        minute of small pictures, which fit in the memory of the driver.
    most_dealt : int or None
        How many inputs an actor is dealt at once at most, where they take long.
    """

    numbers: bool
    columns: Mapping[str, str]
    make_reader: Callable[[Callable[[], Any]], Reader]
    make_rows: Callable[[list[Answered], Any, int], Rows]
    workers_of_actor: int
    group_of_actor: int
    most_dealt: int | None = None

    @property
    def all_columns(self) -> dict[str, str]:
        """What a row holds, with what is kept beside."""
        return {**self.columns, **PRIVATE_COLUMNS}


def fill_rows(batch: list[Answered], make_row: Callable[[Input, Answer], Row]) -> Rows:
    """Make the rows of a batch; those of before keep all but their label.

    Parameters
    ----------
    batch : list of Answered
    make_row : callable
        Makes the row of an input that was read now.
    """
    rows: list[Row] = []
    skipped = []
    for item, answer in batch:
        if not isinstance(answer, Answer):
            rows.append({**answer, "label": item.label})
        elif answer.status == "skipped":
            skipped.append((item.path, answer.reason))
        else:
            rows.append(make_row(item, answer))
    return rows, skipped


def begin_row(item: Input, answer: Answer, checkpoint: Checkpoint) -> Row:
    """Put down what every row holds; what was read in the picture is still missing.

    Parameters
    ----------
    item : Input
    answer : Answer
    checkpoint : Checkpoint
        Of the network that reads.
    """
    return {
        "path": item.path,
        "status": answer.status,
        "reason": answer.reason,
        "width": answer.width,
        "height": answer.height,
        "sha256": answer.sha256,
        "label": item.label,
        "model": checkpoint.path.stem,
        "model_version": checkpoint.version,
        "seconds": answer.seconds,
        "size": item.size,
        "stamp": item.stamp,
        "seen": None,
    }
