"""What may be changed on the shelf of models: add one, delete one, make one the best, go back.

    upload -> checked as a whole -> models/NAME.pth
    models/NAME.pth -> models/mnist_cnn_best.pth ("best"), the one before -> mnist_cnn_previous.pth

Every change is one replaced file, made under a lock that holds between processes: whoever reads
finds the old model or the new one. What "best" was before is kept, so one step back is always
possible. Whether a model deserves to be the best is the matter of `promotion.py`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from errors import BusyError, CheckpointError, ModelNotFoundError, OutputError, SettingsError
from model import list_models
from registry import ALIASES, SUFFIX, Checkpoint, load_checkpoint, resolve
from utils import atomic_write

BEST = ALIASES["best"]
PREVIOUS = "mnist_cnn_previous"  # what "best" was before
SHIPPED = frozenset({*ALIASES.values(), *list_models()})
MAX_UPLOAD_BYTES = 32_000_000  # our largest network takes 4 MB
LONGEST_NAME = 64
LOCK_WAIT_S = 30


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
        if target.exists() or name in ALIASES:
            raise SettingsError(
                f"name: there is a model {name!r} already; rename the file, or delete that model"
            )
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
            try:
                load_checkpoint(temporary)
            except CheckpointError as error:
                # The temporary name would tell the sender nothing.
                text = str(error).replace(str(temporary), target.name)
                raise CheckpointError(text) from error
    return load_checkpoint(target)


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


def make_best(name: str, folder: Path) -> Checkpoint:
    """Let "best" mean another model from now on, and keep the one before.

    Returns
    -------
    Checkpoint
        The new "best".

    Raises
    ------
    ModelNotFoundError, CheckpointError
        If there is no such model, or it cannot be used; nothing has changed then.
    OutputError
        If a file cannot be written.
    """
    with _alone(folder):
        source = load_checkpoint(name, folder, allow_paths=False).path
        best = folder / f"{BEST}{SUFFIX}"
        if source.stem == BEST:
            raise SettingsError(f"{BEST} is the best model already")
        if best.exists():
            _copy(best, folder / f"{PREVIOUS}{SUFFIX}")
        _copy(source, best)
        return load_checkpoint(best)


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
        previous, best = folder / f"{PREVIOUS}{SUFFIX}", folder / f"{BEST}{SUFFIX}"
        if not previous.is_file():
            raise ModelNotFoundError(
                "there is nothing to go back to: the best model has not been replaced yet"
            )
        load_checkpoint(previous)
        # The replaced file is held under a third name until both are in place.
        with atomic_write(previous) as leaving:
            shutil.copyfile(best if best.exists() else previous, leaving)
            _copy(previous, best)
        return load_checkpoint(best)


def _copy(source: Path, target: Path) -> None:
    """Replace a file by a copy of another in one step."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process and one thread at a time change the shelf."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".shelf.lock", timeout=LOCK_WAIT_S)
        lock.acquire()
    except Timeout as error:
        raise BusyError("another change of the models is under way; try again soon") from error
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
