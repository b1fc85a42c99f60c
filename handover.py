"""What becomes of a finished run's weights: `models/` takes them, or leaves what is better.

    hand_over: last.pth -> models/NAME.pth; best.pth -> models/NAME_best.pth, if it is better
    offer:     best.pth -> calibrated -> models/CANDIDATE.pth -> the best model, if it is not worse

>>> hand_over(Path("outputs/first"), MODELS_DIR, "mnist_cnn")
PosixPath('models/mnist_cnn_best.pth')
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from calibrate import COUNT as CALIBRATION_COUNT
from calibrate import calibrate
from corrections import find_corrections
from dataset import Digits
from errors import CheckpointError, ModelNotFoundError
from hands import NOT_A_DIGIT
from promotion import promote
from recipes import Settings
from registry import Checkpoint, load_checkpoint
from runs import Outcome, measure, publish
from utils import atomic_write, shorten_path


def hand_over(folder: Path, models_folder: Path, stem: str, *, replace: bool = False) -> Path:
    """Copy a run's weights to `models/`: the last always, the best only if they are better.

    A short trial must not destroy a model that took hours, and validation results compare only
    between runs that learned from the same kind of data.

    Parameters
    ----------
    folder : Path
        Of the run; holds last.pth and best.pth.
    models_folder : Path
    stem : str
        The files become STEM.pth and STEM_best.pth.
    replace : bool, default=False
        Replace STEM_best.pth in any case.

    Returns
    -------
    Path
        Where the best weights of this run are now: in `models_folder`, or still in `folder`.
    """
    publish(folder / "last.pth", models_folder / f"{stem}.pth")
    best, target = folder / "best.pth", models_folder / f"{stem}_best.pth"
    if replace or _is_better(best, target):
        publish(best, target)
        return target
    print(
        f"{shorten_path(target)} stays as it is, for it did better on validation or learned from "
        f"other data; this run's best is {shorten_path(best)} (--replace would take it)"
    )
    return best


def _is_better(path: Path, standing: Path) -> bool:
    """Say whether the checkpoint at `path` may take the place of the one that stands."""
    new = load_checkpoint(path)
    try:
        old = load_checkpoint(standing)
    except (ModelNotFoundError, CheckpointError):
        return True
    if bool(old.settings.get("limit")) != bool(new.settings.get("limit")):
        return bool(old.settings.get("limit"))  # a trial gives way to a run on all pictures
    same_data = bool(old.settings.get("hands")) == bool(new.settings.get("hands"))
    accuracy = new.metrics["validation_accuracy"]
    return same_data and accuracy >= old.metrics.get("validation_accuracy", 0.0)


def offer(
    outcome: Outcome,
    settings: Settings,
    candidate: str,
    *,
    models_folder: Path,
    data_folder: Path,
    promoting: bool = False,
) -> dict[str, Any]:
    """Put a finished run's best weights on the shelf under a name of their own.

    They are calibrated first, so that their confidence and verdicts can be relied on. Whoever
    follows the run finds what came of it in its outcome.json.

    Parameters
    ----------
    outcome : Outcome
        Of a run that was not interrupted.
    settings : Settings
        Of that run.
    candidate : str
        The weights become `models_folder`/CANDIDATE.pth.
    models_folder, data_folder : Path
    promoting : bool, default=False
        Make them the best model, if they are not worse by `promotion.RULE`.

    Returns
    -------
    dict
        `candidate`, `metrics`, `corrections` (how many are read right now, and were before),
        `promotion` (see `promotion.Comparison.to_dict`) and `summary`, in words.
    """
    before = load_checkpoint(settings.start, models_folder) if settings.start else None
    best = load_checkpoint(outcome.folder / "best.pth")
    calibrate(best, data_folder, count=settings.limit or CALIBRATION_COUNT)
    publish(best.path, models_folder / f"{candidate}.pth")
    result: dict[str, Any] = {"candidate": candidate, "metrics": outcome.metrics}
    summary = [f"{outcome.metrics['validation_accuracy']:.2%} of the validation pictures right."]
    corrections = find_corrections(settings.corrections)
    if corrections:
        result["corrections"] = _count_corrected(corrections, best, before)
        summary.append(
            "Of {count} corrected digits {right} are read right.".format(**result["corrections"])
        )
    if promoting:
        comparison = promote(candidate, models_folder, data_folder)
        promoted = comparison.is_not_worse
        result["promotion"] = {**comparison.to_dict(), "promoted": promoted}
        verdict = "It is the best model now" if promoted else "The best model stays as it was"
        summary.append(f"{verdict} ({comparison.text}).")
    result["summary"] = " ".join([*summary, f"The new weights are {candidate!r}."])
    with atomic_write(outcome.folder / "outcome.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _count_corrected(
    corrections: Digits, new: Checkpoint, old: Checkpoint | None
) -> dict[str, int | None]:
    """Count the corrected digits that are read as the visitors said, now and before."""
    assert corrections.labels is not None
    digits = corrections.take(corrections.labels != NOT_A_DIGIT)
    models = {"right": new, "before": old}
    scores = {
        key: round(measure(each.model, digits).accuracy * len(digits)) if each else None
        for key, each in models.items()
    }
    return {"count": len(digits), **scores}
