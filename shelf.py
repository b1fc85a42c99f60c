"""What may be changed on the shelf of models: add one, delete one, make one the best, go back.

    upload -> checked as a whole -> models/NAME.pth
    models/NAME.pth -> models/mnist_cnn_best.pth ("best"), the one before -> mnist_cnn_previous.pth

Every change is one replaced file, made under a lock that holds between processes: whoever reads
finds the old model or the new one. What "best" was before is kept, so one step back is always
possible. Whether a model deserves to be the best is the matter of `promotion.py`. Run this file
for a table of all models:

    $ python shelf.py
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from errors import (
    CheckpointError,
    DataNotFoundError,
    ModelNotFoundError,
    OutputError,
    OvertakenError,
    SettingsError,
)
from model import (
    DEFAULT_ARCHITECTURE,
    IMAGE_SIZE,
    DigitNetwork,
    compute_logits,
    count_parameters,
    list_models,
)
from registry import (
    ALIASES,
    MODELS_DIR,
    SUFFIX,
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_file,
    resolve,
)
from utils import (
    HelpFormatter,
    atomic_write,
    check_name,
    hold_lock,
    one_line,
    report_errors,
    shorten_path,
)

BEST = ALIASES["best"]
PREVIOUS = "mnist_cnn_previous"  # what "best" was before
PLACES = frozenset({*ALIASES, BEST, PREVIOUS})  # models come and go there; none is added there
# The default network is shipped as "best" and "last": a model called mnistnet is somebody's own.
SHIPPED = frozenset({*ALIASES.values(), *list_models(), "ensemble"} - {DEFAULT_ARCHITECTURE})
MAX_UPLOAD_BYTES = 32_000_000  # our largest network takes 4 MB
LONGEST_NAME = 64
VALIDATION_PICTURES = 5_000  # of MNIST, see `dataset.VALIDATION_SHARE`; trials take fewer
LOCK_WAIT_S = 30
TIMED_RUNS = 50


def clean_name(text: object) -> str:
    r"""Make a model's name of what somebody wrote, or of the name of a file that came in.

    Parameters
    ----------
    text : object
        Anything, such as "C:\\Models\\my net (2).pth".

    Returns
    -------
    str
        Letters, digits, - and _, at most 64; such as "my-net-2".

    Raises
    ------
    SettingsError
        If nothing is left.
    """
    last = re.split(r"[/\\]", str(text or ""))[-1].strip().removesuffix(SUFFIX)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-_")[:LONGEST_NAME]
    if not name:
        raise SettingsError(f"name: {str(text)[:80]!r} has no letter or digit; choose a name")
    return name


def read_name(flag: str, text: str) -> str:
    """Make a model's name of a flag's value.

    Parameters
    ----------
    flag : str
        Such as "--name", for messages.
    text : str

    Raises
    ------
    SettingsError
        If it is a path, or nothing is left of it.
    """
    check_name(flag, text)
    try:
        return clean_name(text)
    except SettingsError as error:
        raise SettingsError(f"{flag} {text!r} has no letter or digit; choose a name") from error


def is_taken(name: str, folder: Path) -> bool:
    """Whether a model of that name is in the folder, or the name is none that a model may have."""
    return name in PLACES or (folder / f"{name}{SUFFIX}").exists()


def add(content: bytes, name: str, folder: Path) -> Checkpoint:
    """Check a checkpoint that came from outside, and put it on the shelf.

    Parameters
    ----------
    content : bytes
        The file. Nothing in it is executed.
    name : str
        Made usable by `clean_name`.
    folder : Path
        The models folder.

    Returns
    -------
    Checkpoint
        As it was read back.

    Raises
    ------
    CheckpointError
        If it is too large, damaged, or not a checkpoint of one of our networks.
    SettingsError
        If there is a model of that name.
    OutputError
        If it cannot be written.
    """
    name = clean_name(name)
    if len(content) > MAX_UPLOAD_BYTES:
        raise CheckpointError(
            f"{name} has {len(content) / 1e6:.0f} MB and is too large for one of our networks "
            f"(at most {MAX_UPLOAD_BYTES / 1e6:.0f} MB); choose another file"
        )
    target = folder / f"{name}{SUFFIX}"
    with _alone(folder):
        if is_taken(name, folder):
            raise SettingsError(
                f"name: there is a model {name!r} already; rename the file, or delete that model"
            )
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
            # The temporary name would tell the sender nothing.
            load_file(temporary, called=Path(target.name))
    return load_file(target)


def put(source: Path, name: str, folder: Path, *, own: str = "", replace: bool = False) -> Path:
    """Put a finished model on the shelf; if its name is taken, then under the next one that is not.

    Nothing is replaced by surprise, and nothing is lost: NAME becomes NAME-2, NAME-3, and so on.

    Parameters
    ----------
    source : Path
        A checkpoint; it stays where it is.
    name : str
        Clean.
    folder : Path
        The models folder.
    own : str, default=""
        Version of a model of that name that may be replaced; "" for none.
    replace : bool, default=False
        Replace whatever has the name.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    BusyError
        If others change the shelf all the time.
    OutputError
        If it cannot be written.
    """
    with _alone(folder):
        target = folder / f"{name}{SUFFIX}"
        if not (replace or (own and own == read_version(target))):
            target = folder / f"{_find_free(name, folder)}{SUFFIX}"
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def _find_free(name: str, folder: Path) -> str:
    """Add the lowest number to a name that makes it free, if it is not."""
    number, free = 1, name
    while is_taken(free, folder):
        number += 1
        free = f"{name[: LONGEST_NAME - len(f'-{number}')]}-{number}"
    return free


def read_version(path: Path) -> str | None:
    """Say which weights a file holds; None if there are none that can be used."""
    try:
        return load_file(path).version
    except CheckpointError:
        return None


def delete(name: str, folder: Path, *, in_use: str) -> None:
    """Take a model off the shelf for good.

    Parameters
    ----------
    name : str
        Of a file in the folder, never a path.
    folder : Path
        The models folder.
    in_use : str
        Name of the model that reads at the moment; it stays.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    SettingsError
        If it is in use, or came with the program.
    OutputError
        If the file cannot be deleted.
    """
    with _alone(folder):
        path = resolve(name, folder, allow_paths=False)
        if path.stem == in_use:
            raise SettingsError(f"{path.stem} is in use; choose another model first")
        if path.stem in SHIPPED:
            raise SettingsError(f"{path.stem} belongs to the program and stays")
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise ModelNotFoundError(f"{path.stem} is gone already") from error
        except OSError as error:
            raise OutputError(f"cannot delete {path}: {error.strerror or error}") from error


def make_best(
    name: str, folder: Path, *, measured: tuple[str, str | None] | None = None
) -> Checkpoint:
    """Let "best" mean another model from now on, and keep the one before.

    Parameters
    ----------
    name : str
        Of a file in the folder, never a path.
    folder : Path
        The models folder.
    measured : (str, str or None), optional
        Versions of this model and of the present best one (None if there is none that can be
        used) that the decision rests on. Without them it is carried out in any case.

    Returns
    -------
    Checkpoint
        The new "best".

    Raises
    ------
    ModelNotFoundError, CheckpointError
        If there is no such model, or it cannot be used; nothing has changed then.
    SettingsError
        If it is the best one already.
    OvertakenError
        If one of the two is not what was `measured` any more.
    OutputError
        If a file cannot be written.
    """
    with _alone(folder):
        source = load_checkpoint(name, folder, allow_paths=False)
        if source.name == BEST:
            raise SettingsError(f"{BEST} is the best model already")
        now = source.version, read_version(folder / f"{BEST}{SUFFIX}")
        if measured is not None and measured != now:
            raise OvertakenError(
                f"{source.name} or the best model was replaced while they were compared; try again"
            )
        return _replace_best(source.path, folder)


def roll_back(folder: Path) -> Checkpoint:
    """Let "best" mean again what it meant before; a second time goes forward again.

    Returns
    -------
    Checkpoint
        The "best" that is back.

    Raises
    ------
    ModelNotFoundError
        If there is none before.
    CheckpointError
        If the one before is damaged; nothing has changed then.
    OutputError
        If a file cannot be written.
    """
    with _alone(folder):
        previous = folder / f"{PREVIOUS}{SUFFIX}"
        if not previous.is_file():
            raise ModelNotFoundError(
                "there is nothing to go back to: the best model has not been replaced yet"
            )
        load_file(previous)
        return _replace_best(previous, folder)


def _replace_best(source: Path, folder: Path) -> Checkpoint:
    """Put a copy of a model in the place of the best one, and that in the place before it."""
    best, previous = folder / f"{BEST}{SUFFIX}", folder / f"{PREVIOUS}{SUFFIX}"
    with atomic_write(best) as coming:
        # The copy first: the source may be the one before, which is replaced now.
        shutil.copyfile(source, coming)
        if best.exists():
            with atomic_write(previous) as leaving:
                shutil.copyfile(best, leaving)
    return load_file(best)


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Let one process and one thread at a time change the shelf."""
    busy = "another change of the models is under way; try again soon"
    return hold_lock(folder / ".shelf.lock", busy=busy, timeout_s=LOCK_WAIT_S)


# --- the command line -----------------------------------------------------------------------------


def tabulate(folder: Path) -> str:
    """Write all models as a table in Markdown, with what is known and what reading costs here.

    Returns
    -------
    str
        One line for each file, by name; one that cannot be used has its reason. A dash is not
        known. The time of training is that of the last run alone, up to the epoch of these weights:
        not of runs before, which it began with, nor of later epochs that were no better. The time
        for a picture is the network's alone, the median of 50 single pictures on one thread.
    """
    titles = (
        *("model", "network", "parameters", "MB", "MNIST test", "validation", "other hands"),
        *("last training", "ms a picture"),
    )
    lines = [f"| {' | '.join(titles)} |", "|---|---|" + "---:|" * (len(titles) - 2)]
    for each in list_checkpoints(folder):
        cells = [one_line(each.problem)] if each.checkpoint is None else _describe(each.checkpoint)
        lines.append(f"| {' | '.join([one_line(each.name), *cells])} |")
    return "\n".join(lines)


def find_shares(checkpoint: Checkpoint) -> list[float | None]:
    """Tell how many pictures a model reads right, as far as its file says.

    Returns
    -------
    list of float or None
        Of MNIST's test pictures, of its validation pictures, and of digits of other hands. What
        training did not note (for an average of several trainings, say) calibration may have.
    """
    places = (
        [("test_accuracy",)],
        [("validation_accuracy",), ("calibration", "sets", "MNIST", "accuracy")],
        [("hands_accuracy",), ("calibration", "sets", "other hands", "accuracy")],
    )
    return [
        next(filter(None, (_find_share(checkpoint.metrics, path) for path in paths)), None)
        for paths in places
    ]


def find_trial(checkpoint: Checkpoint) -> int | None:
    """Tell on how few validation pictures a model was measured; None: on all of them.

    What a trial reads right is no match for what others read right of all pictures.
    """
    count = checkpoint.data.get("validation_pictures")
    return count if isinstance(count, int) and count < VALIDATION_PICTURES else None


def _find_share(metrics: object, path: tuple[str, ...]) -> float | None:
    """Follow a path into the metrics; a file from elsewhere may hold anything there."""
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, dict) else None
    return metrics if isinstance(metrics, float) else None


def _describe(checkpoint: Checkpoint) -> list[str]:
    """Write a model's cells of the table."""
    seconds = checkpoint.metrics.get("elapsed")
    return [
        checkpoint.architecture,
        f"{count_parameters(checkpoint.model):,}",
        f"{checkpoint.path.stat().st_size / 1e6:.1f}",
        *(_write_share(share, find_trial(checkpoint)) for share in find_shares(checkpoint)),
        f"{seconds / 60:.0f} min" if isinstance(seconds, float) else "-",
        f"{_time_one_picture(checkpoint.model):.2f}",
    ]


def _time_one_picture(model: DigitNetwork) -> float:
    """Measure how long the network takes for one picture, in milliseconds."""
    picture = torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(TIMED_RUNS):
            started = time.perf_counter()
            compute_logits(model, picture)
            times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(times)


def _write_share(share: float | None, trial: int | None) -> str:
    """Write a share in per cent, with the number of pictures where these were not all."""
    if share is None:
        return "-"
    return f"{100 * share:.2f} %" + ("" if trial is None else f" of {trial:,}")


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=(
            "Print a table of all trained models. The last training is the time of the last run "
            "alone, up to the epoch that these weights are from."
        ),
        epilog="examples:\n  python shelf.py\n  python shelf.py --models-dir backup",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--models-dir", type=Path, default=MODELS_DIR, metavar="DIR", help="folder of the models"
    )
    return parser


@report_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    args = build_parser().parse_args(argv)
    # A name with a typo would pass as a folder without models.
    if args.models_dir != MODELS_DIR and not args.models_dir.is_dir():
        raise DataNotFoundError(
            f"{args.models_dir}: no such folder; name another one in --models-dir, or leave it out "
            f"for {shorten_path(MODELS_DIR)}"
        )
    print(tabulate(args.models_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())
