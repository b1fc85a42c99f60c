"""What becomes of a finished run's weights: `models/` takes them, or leaves what is better.

    hand_over: last.pth -> models/NAME.pth; best.pth -> models/NAME_best.pth, if it is not worse
    offer:     best.pth -> calibrated -> models/CANDIDATE.pth -> the best model, if it is not worse

>>> hand_over(Path("outputs/first"), MODELS_DIR, "mnist_cnn")
PosixPath('models/mnist_cnn_best.pth')
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calibrate import calibrate
from corrections import find_corrections
from dataset import Digits
from errors import (
    CheckpointError,
    DataFormatError,
    ModelNotFoundError,
    OutputError,
    SettingsError,
)
from hands import NOT_A_DIGIT, VALIDATION_COUNT
from promotion import is_best, promote
from recipes import Settings
from registry import ALIASES, MODELS_DIR, SUFFIX, Checkpoint, load_checkpoint
from runs import measure, publish
from shelf import (
    PLACES,
    VALIDATION_PICTURES,
    find_shares,
    find_trial,
    is_taken,
    put,
    read_name,
    read_version,
)
from utils import check_writable, shorten_path


@dataclass(frozen=True)
class RunOptions:
    """What is asked of a run besides its settings: its places, and what becomes of its weights.

    The run's config.json keeps them, so that a resumed run ends as was asked for at first.

    Attributes
    ----------
    data_dir : Path, optional
        Holds MNIST; None leaves it to `dataset.data_dir`.
    models_dir : Path, default=MODELS_DIR
        Where the weights to start from lie, and where the finished ones go.
    name : str, default=""
        The weights become NAME.pth (the last) and NAME_best.pth; "" takes "mnist_cnn" for the
        default network, and any other network's own name.
    candidate : str, default=""
        The best weights are calibrated and become CANDIDATE.pth; then nothing else is written.
    promote : bool, default=False
        Make the candidate the best model, if it is not worse by `promotion.RULE`.
    replace : bool, default=False
        Replace NAME.pth even if it is calibrated or better than a trial, NAME_best.pth even if it
        did better, and CANDIDATE.pth if there is one.
    test : bool, default=True
        Measure the best weights on the test pictures at the end. Leave it off in experiments.
    hand_on : bool, default=True
        Copy the weights to `models_dir`; otherwise they stay in the run's folder.
    own : str, default=""
        Version of CANDIDATE.pth if the run itself has left it there before; it may be replaced.
        Found by `check_options`.
    """

    data_dir: Path | None = None
    models_dir: Path = MODELS_DIR
    name: str = ""
    candidate: str = ""
    promote: bool = False
    replace: bool = False
    test: bool = True
    hand_on: bool = True
    own: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give what was asked for as plain values; what was left as it is may change its place."""
        defaults = asdict(RunOptions())
        return {
            key: str(value.resolve()) if isinstance(value, Path) else value
            for key, value in asdict(self).items()
            if value != defaults[key]
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> RunOptions:
        """Take back what `to_dict` gave."""
        places: dict[str, Any] = {
            key: Path(saved[key]) for key in ("data_dir", "models_dir") if key in saved
        }
        return cls(**{**saved, **places})


def check_options(options: RunOptions, folder: Path) -> RunOptions:
    """Refuse what cannot come true, before hours are spent on it.

    Parameters
    ----------
    options : RunOptions
    folder : Path
        Of the run. A candidate that it has left in `models_dir` before may be replaced.

    Returns
    -------
    RunOptions
        The same, with names that files can have, and `own`.

    Raises
    ------
    SettingsError
        If a name cannot be that of a model, or the candidate would replace one.
    OutputError
        If the finished weights could not be written.
    """
    name = _clean_name("--name", options.name)
    candidate = _clean_name("--candidate", options.candidate)
    own = ""
    if candidate and is_taken(candidate, options.models_dir) and not options.replace:
        # What it left may be older than its best weights, if it went on and was stopped again.
        known = {read_version(folder / "best.pth"), options.own or None} - {None}
        own = read_version(options.models_dir / f"{candidate}{SUFFIX}") or ""
        if own not in known:
            raise SettingsError(
                f"--candidate {candidate}: there is a model {candidate!r} already; choose another "
                "name, or let it be replaced with --replace"
            )
    if options.hand_on:
        check_writable(
            options.models_dir,
            purpose="where the weights are to go",
            advice="name another --models-dir",
        )
    return dataclasses.replace(options, name=name, candidate=candidate, own=own)


def _clean_name(flag: str, text: str) -> str:
    """Make a model's name of a flag's value; "" stays."""
    name = read_name(flag, text) if text else ""
    if name in PLACES:
        raise SettingsError(
            f"{flag} {name}: that is not a model's own name; choose another "
            "(--promote makes a candidate the best model)"
        )
    return name


def hand_over(folder: Path, models_folder: Path, stem: str, *, replace: bool = False) -> Path:
    """Copy a run's weights to `models/`: the last ones, and the best if they are not worse.

    A short trial must not destroy a model that took hours, nor may MNIST alone one that reads
    other hands: results compare only between runs that were measured on the same kind of pictures.
    A calibrated model gives way to a calibrated one only, for its verdicts can be relied on; only
    `mnist_cnn` is the last one trained, calibrated or not. A trial on fewer validation pictures
    that reads a smaller share of them takes no place at all.

    Parameters
    ----------
    folder : Path
        Of the run; holds last.pth and best.pth.
    models_folder : Path
    stem : str
        The files become STEM.pth and STEM_best.pth.
    replace : bool, default=False
        Replace both in any case.

    Returns
    -------
    Path
        Where the best weights of this run are now: in `models_folder`, or still in `folder`.
    """
    _hand_over_last(folder / "last.pth", models_folder / f"{stem}.pth", replace=replace)
    best, target = folder / "best.pth", models_folder / f"{stem}_best.pth"
    obstacle = "" if replace else _find_obstacle(load_checkpoint(best), target)
    if not obstacle:
        publish(best, target)
        return target
    standing, coming = shorten_path(target), shorten_path(best)
    print(
        f"{standing} stays as it is: {obstacle}. This run's best weights are {coming}; "
        f"to calibrate them and put them there all the same:\n"
        f"  python calibrate.py --model {coming} --output {standing}\n"
        f"(a run with --replace does not ask, and leaves them there as they are)",
        flush=True,
    )
    return best


def _hand_over_last(last: Path, target: Path, *, replace: bool) -> None:
    """Copy the last weights of a run, unless they would destroy a model that is worth more."""
    obstacle = "" if replace else _find_obstacle_to_last(last, target)
    if not obstacle:
        publish(last, target)
        print(f"last weights: {shorten_path(target)}", flush=True)
        return
    print(
        f"{shorten_path(target)} stays as it is: {obstacle}. This run's last weights are "
        f"{shorten_path(last)} (a run with --replace does not ask)",
        flush=True,
    )


def _find_obstacle_to_last(last: Path, target: Path) -> str:
    """Say why a run's last weights may not take the place of others; empty if they may."""
    if target.stem != ALIASES["last"] and _is_calibrated(target):
        return "it is calibrated, and these weights are not"
    new = load_checkpoint(last)
    try:
        old = load_checkpoint(target)
    except (ModelNotFoundError, CheckpointError):
        return ""
    before, now = (_score(each, with_hands=False) for each in (old, new))
    if _count_validation(new) < _count_validation(old) and (now or 0.0) < (before or 0.0):
        return (
            f"it read {before:.2%} of {_count_validation(old):,} validation pictures, and this "
            f"trial {now or 0.0:.2%} of {_count_validation(new):,}"
        )
    return ""


def _count_validation(checkpoint: Checkpoint) -> int:
    """Tell on how many of MNIST's validation pictures a network was measured."""
    count: int = checkpoint.data.get("validation_pictures", VALIDATION_PICTURES)
    return count


def _is_calibrated(path: Path) -> bool:
    """Whether a file holds a network that knows its doubt."""
    try:
        return load_checkpoint(path).refusal is not None
    except (ModelNotFoundError, CheckpointError):
        return False


def _find_obstacle(new: Checkpoint, standing: Path) -> str:
    """Say why a checkpoint may not take the place of the one that stands; empty if it may.

    The data are asked, not the settings: an average of several trainings has no settings.
    """
    try:
        old = load_checkpoint(standing)
    except (ModelNotFoundError, CheckpointError):
        return ""
    counts = [_count_validation(each) for each in (old, new)]
    if counts[0] != counts[1]:  # a trial gives way to a run on all pictures
        return "" if counts[0] < counts[1] else "it was measured on more validation pictures"
    knows_hands = _knows_hands(new)
    if _knows_hands(old) != knows_hands:
        who, other = ("this run", "it") if knows_hands else ("it", "this run")
        return f"{who} learned from other hands than MNIST's as well, and {other} did not"
    before, now = (_score(each, with_hands=knows_hands) for each in (old, new))
    if before is None:
        return "its results on validation are not known"
    if (now or 0.0) < before:
        sets = "MNIST and other hands together" if knows_hands else "MNIST"
        return f"it did better on validation, {sets}"
    if old.refusal is not None and new.refusal is None:
        return "it is calibrated, and these weights are not yet"
    return ""


def _knows_hands(checkpoint: Checkpoint) -> bool:
    """Whether a network has learned from other hands than MNIST's, and was measured on them."""
    return bool(checkpoint.data.get("hands_validation_pictures"))


def _score(checkpoint: Checkpoint, *, with_hands: bool) -> float | None:
    """Add up the shares of validation pictures read right, as `runs.rank` does; None: not known."""
    _, mnist, hands = find_shares(checkpoint)
    wanted = [mnist, hands] if with_hands else [mnist]
    known = [share for share in wanted if share is not None]
    return sum(known) if len(known) == len(wanted) else None


def offer(
    folder: Path,
    settings: Settings,
    candidate: str,
    *,
    models_folder: Path,
    data_folder: Path,
    own: str = "",
    replace: bool = False,
    promoting: bool = False,
) -> dict[str, Any]:
    """Put a finished run's best weights on the shelf under a name of their own.

    They are calibrated first, so that their confidence and verdicts can be relied on. What is told
    besides may be lost while a run learns for hours, as others delete models and withdraw
    corrections; the summary says so then, and the weights are on the shelf all the same.

    Parameters
    ----------
    folder : Path
        Of a run that has done its epochs; holds best.pth.
    settings : Settings
        Of that run.
    candidate : str
        The weights become `models_folder`/CANDIDATE.pth.
    models_folder, data_folder : Path
    own : str, default=""
        Version of a model of that name that may be replaced. If somebody has added another one
        while the run learned, both stay: the weights become CANDIDATE-2.pth then.
    replace : bool, default=False
        Replace whatever has that name.
    promoting : bool, default=False
        Make them the best model, if they are not worse by `promotion.RULE`.

    Returns
    -------
    dict
        `candidate` (the name that it got), `metrics`, `corrections` (how many are read right now,
        and were before; None what cannot be counted), `promotion` (see
        `promotion.Comparison.to_dict`; `promoted` says whether it is the best model now) and
        `summary`, in words.
    """
    best = load_checkpoint(folder / "best.pth")
    before = _find_start(best, settings, models_folder)  # now: the candidate may have its name
    calibrate(best, data_folder, count=settings.limit or VALIDATION_COUNT)
    wanted = candidate
    candidate = put(best.path, wanted, models_folder, own=own, replace=replace).stem
    result: dict[str, Any] = {"candidate": candidate, "metrics": best.metrics}
    few = find_trial(best)
    pictures = "the validation pictures" if few is None else f"{few:,} validation pictures"
    summary = [f"{best.metrics['validation_accuracy']:.2%} of {pictures} right."]
    if settings.corrections:
        result["corrections"], words = _compare_corrected(settings, best, before)
        summary.append(words)
    if promoting:
        result["promotion"], words = _promote(candidate, models_folder, data_folder)
        summary.append(words)
    summary.append(f"The new weights are {candidate!r}.")
    if candidate != wanted:
        summary.append(f"Another model got the name {wanted!r} while they were learned.")
    result["summary"] = " ".join(summary)
    return result


def _promote(candidate: str, models_folder: Path, data_folder: Path) -> tuple[dict[str, Any], str]:
    """Make the candidate the best model, if it is not worse; say in words what came of it."""
    new = load_checkpoint(candidate, models_folder, allow_paths=False)
    if is_best(new, models_folder):  # the run was stopped right after it had done this
        return {"candidate": candidate, "promoted": True}, "It is the best model already."
    comparison = promote(candidate, models_folder, data_folder)
    promoted = comparison.is_not_worse
    verdict = "It is the best model now" if promoted else "The best model stays as it was"
    words = f"{verdict} ({comparison.text})."
    return {**comparison.to_dict(), "promoted": promoted}, words


def _find_start(best: Checkpoint, settings: Settings, models_folder: Path) -> Checkpoint | None:
    """Find the weights that a run began with; None if there were none, or they are gone."""
    if not settings.start:
        return None
    try:
        start = load_checkpoint(settings.start, models_folder)
    except (ModelNotFoundError, CheckpointError):
        return None
    # Other weights may have that name by now: "best" is whatever was promoted last.
    return start if start.reference == best.settings.get("start") else None


def _compare_corrected(
    settings: Settings, new: Checkpoint, old: Checkpoint | None
) -> tuple[dict[str, int | None] | None, str]:
    """Count the corrected digits that are read right, as far as that can be; say it in words.

    The words are shown to everybody, so they name no file.
    """
    try:
        corrections = find_corrections(settings.corrections)
    except SettingsError:
        return None, "The corrections are not counted: all have been withdrawn meanwhile."
    except (DataFormatError, OutputError):
        return None, "The corrections are not counted: they cannot be read any more."
    assert corrections is not None
    counts = _count_corrected(corrections, new, old)
    words = (
        "Of {count} corrected digits {right} are read right (it has learned from these pictures)."
    ).format(**counts)
    if settings.start and old is None:
        words += " Before is not counted: the model that it began with is gone, or another now."
    return counts, words


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
