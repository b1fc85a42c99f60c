"""What the network says about prepared pictures, as rows of the table.

    inputs with what the workers found -> one forward pass -> rows, and the files left out

Every engine makes its rows here, so all engines give the same ones, to the last digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_input import Input
from batch_rows import COLUMNS, Row
from batch_task import Answered, Rows, Task, begin_row, fill_rows
from batch_workers import Answer, Reader
from pixels import to_bytes

if TYPE_CHECKING:
    from predict import MNISTPredictor
    from reading import Prediction

DECIMALS = 6  # of probabilities; more would show the rounding of the arithmetic

_PROBABILITIES = tuple(f"p{digit}" for digit in range(10))  # columns


def make_rows(batch: list[Answered], predictor: MNISTPredictor, batch_size: int) -> Rows:
    """Ask the network about a batch; give its rows, and the files that are no pictures."""
    prepared = [
        answer.prepared
        for _, answer in batch
        if isinstance(answer, Answer) and answer.prepared is not None
    ]
    # With passes of one size, a run that was interrupted gives the same rows to the last decimal.
    predictions = iter(predictor.predict_prepared(prepared, pad_to=batch_size))

    def make_row(item: Input, answer: Answer) -> Row:
        row = begin_row(item, answer, predictor.checkpoint)
        return row | _say(next(predictions) if answer.prepared is not None else None, item.label)

    return fill_rows(batch, make_row)


def _say(prediction: Prediction | None, label: int | str | None) -> Row:
    """Put an answer into the columns of a row, with what the network saw if it is doubtful."""
    if prediction is None:
        return dict.fromkeys(("digit", "confidence", *_PROBABILITIES))
    probabilities = [round(p, DECIMALS) for p in prediction.probabilities.tolist()]
    is_doubtful = prediction.verdict != "ok" or label not in (None, prediction.digit)
    return {
        "status": prediction.verdict,
        "reason": prediction.reason,
        "digit": prediction.digit,
        "confidence": round(prediction.confidence, DECIMALS),
        **dict(zip(_PROBABILITIES, probabilities, strict=True)),
        "seen": to_bytes(prediction.image).tobytes() if is_doubtful else None,
    }


def _read_digits(_: object) -> Reader:
    """Say how workers prepare digits: for that they need no network."""
    return Reader()


DIGITS = Task(
    numbers=False,
    columns=COLUMNS,
    make_reader=_read_digits,
    make_rows=make_rows,
    workers_of_actor=1,
    group_of_actor=20_000,
)
