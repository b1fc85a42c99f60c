"""What three files need and no file owns: seed, device, atomic writing, command-line manners."""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from errors import DigitError, OutputError, SettingsError

if TYPE_CHECKING:
    import torch

PROJECT = Path(__file__).resolve().parent

# numpy and torch take seeds of different widths; the narrower one is the limit for both.
MAX_SEED = 2**32 - 1


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help text that shows every default and keeps the line breaks of the examples."""


Main = TypeVar("Main", bound=Callable[..., int])


def report_errors(main: Main) -> Main:
    """Let a command end with one line on stderr and an exit code where an error of ours is raised.

    Anything else keeps its traceback.

    Parameters
    ----------
    main : callable
        Takes the words of the command line, and returns the exit code.
    """

    @functools.wraps(main)
    def report(*args: Any, **options: Any) -> int:
        try:
            return main(*args, **options)
        except DigitError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code

    return cast("Main", report)


def set_seed(seed: int) -> None:
    """Make the random numbers of Python, NumPy and PyTorch repeatable.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.

    Raises
    ------
    SettingsError
        If the seed is outside that range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise SettingsError(f"seed {seed} is out of range: choose one from 0 to {MAX_SEED}")
    # Here, not above: a command line that only prints its help must not wait for PyTorch.
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that draw from the old global generator
    torch.manual_seed(seed)


def pick_device(name: str = "auto") -> torch.device:
    """Choose where the arithmetic runs.

    Parameters
    ----------
    name : str, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU; any other value is handed to PyTorch
        ("cpu", "cuda", "cuda:1", "mps").

    Raises
    ------
    SettingsError
        If PyTorch does not know the name, or the machine does not have the device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"device {name!r} cannot be used here; choose 'auto' or 'cpu' ({error})"
        ) from error
    return device


def shorten_path(path: Path) -> Path:
    """Show a path from the current folder if it lies below it."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and put the file in its place when the block ends well.

    A reader sees the old file or the new one, never a part; after an error the old file stands
    and the temporary one is gone.

    Parameters
    ----------
    path : Path
        The file to write or replace. Its folder is made if it is missing.

    Yields
    ------
    Path
        Where the block has to write. It has the same suffix as `path`.

    Raises
    ------
    OutputError
        If the folder cannot be made or the file cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes files that only the owner may read; results are for everyone.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Push the file to the disk, so that a power cut after the rename cannot leave it empty."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    """Read the process's umask, which the system only tells to those who set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def set_up_logging(*, verbose: bool = False) -> None:
    """Send log lines to stderr, so that results on stdout can be piped. For `main` only."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s",
        stream=sys.stderr,
    )
