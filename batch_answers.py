"""What the network says about prepared pictures, as rows of the table.

    inputs with what the workers found -> one forward pass -> rows, and the files left out

Every engine makes its rows here, so all engines give the same ones, to the last digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from batch_rows import Row
from batch_sources import Input
from batch_workers import Answer
from pixels import to_bytes
from preprocess import Prepared

if TYPE_CHECKING:
    from predict import MNISTPredictor
    from reading import Prediction

DECIMALS = 6  # of probabilities; more would show the rounding of the arithmetic

Answered = tuple[Input, Answer | Row]  # an input with what was found now, or its finished row
_PROBABILITIES = tuple(f"p{digit}" for digit in range(10))  # columns
_NOTHING = Prepared.as_it_is(np.zeros((28, 28), np.float32))


def make_rows(
    batch: list[Answered], predictor: MNISTPredictor, batch_size: int
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Ask the network about a batch; give its rows, and the files that are no pictures."""
    prepared = [
        answer.prepared
        for _, answer in batch
        if isinstance(answer, Answer) and answer.prepared is not None
    ]
    predictions = iter(_predict(prepared, predictor, batch_size))
    model = (predictor.checkpoint.path.stem, predictor.checkpoint.version)
    rows: list[Row] = []
    skipped = []
    for item, answer in batch:
        if not isinstance(answer, Answer):
            rows.append({**answer, "label": item.label})  # its label may be another one now
        elif answer.status == "skipped":
            skipped.append((item.path, answer.reason))
        else:
            prediction = next(predictions) if answer.prepared is not None else None
            rows.append(_make_row(item, answer, prediction, model))
    return rows, skipped


def _predict(
    prepared: list[Prepared], predictor: MNISTPredictor, batch_size: int
) -> list[Prediction]:
    """Read prepared pictures in a forward pass that always has the same size.

    The last digits of a result depend on how many pictures share the pass, because the libraries
    below choose their way by it. With one size, a run that was interrupted gives the same rows.
    """
    if not prepared:
        return []
    padding = [_NOTHING] * (batch_size - len(prepared))
    return predictor.predict_prepared(prepared + padding)[: len(prepared)]


def _make_row(
    item: Input, answer: Answer, prediction: Prediction | None, model: tuple[str, str]
) -> Row:
    """Put together a row as `RowStore.add` takes it."""
    row: Row = {
        "path": item.path,
        "status": answer.status,
        "digit": None,
        "confidence": None,
        **dict.fromkeys(_PROBABILITIES),
        "reason": answer.reason,
        "width": answer.width,
        "height": answer.height,
        "sha256": answer.sha256,
        "label": item.label,
        "model": model[0],
        "model_version": model[1],
        "seconds": answer.seconds,
        "size": item.size,
        "stamp": item.stamp,
        "seen": None,
    }
    if prediction is not None:
        row["status"], row["reason"] = prediction.verdict, prediction.reason
        row["digit"] = prediction.digit
        row["confidence"] = round(prediction.confidence, DECIMALS)
        probabilities = prediction.probabilities.tolist()
        for column, probability in zip(_PROBABILITIES, probabilities, strict=True):
            row[column] = round(probability, DECIMALS)
        if prediction.verdict != "ok" or item.label not in (None, prediction.digit):
            row["seen"] = to_bytes(prediction.image).tobytes()
    return row
