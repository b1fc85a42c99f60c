"""What three files need and no file owns: seed, device, writing, locks, command-line manners."""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import glob
import io
import logging
import os
import random
import re
import secrets
import select
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from errors import BusyError, DigitError, OutputError, SettingsError

if TYPE_CHECKING:
    import torch

_TOKEN = 4  # bytes of chance in the name of a temporary file

PROJECT = Path(__file__).resolve().parent

# numpy and torch take seeds of different widths; the narrower one is the limit for both.
MAX_SEED = 2**32 - 1

# Control characters, ends of lines and of paragraphs, marks of direction.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

# What a write to a file without room or to a terminal that is gone fails with; on Windows, too, to
# a pipe from which nobody reads.
_STDOUT_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE),
    *([errno.EINVAL] if os.name == "nt" else []),
}

INTERRUPTED = 130  # what shells report for Ctrl-C
CUT_SHORT = 141  # what shells report for a command that ended because nobody read on

# Threads or processes for each processor. More than one helps little; the rest is for commands that
# were written on a larger machine, and few enough to have room in its memory.
MOST_PER_PROCESSOR = 16


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help text that shows defaults and keeps the line breaks of the examples.

    A default is left out where there is no value, or where the help says in words what happens
    then. Of a switch there is none: `--no-recursive (default: True)` would say the opposite.
    """

    def _get_help_string(self, action: argparse.Action) -> str:
        """Put the default behind the help of an option; argparse calls this for each."""
        text, default = action.help or "", action.default
        if isinstance(default, bool):
            is_pair = isinstance(action, argparse.BooleanOptionalAction)  # --test, --no-test
            default = ("off", "on")[default] if is_pair else None
        elif isinstance(default, (list, tuple)):  # as they are written on a command line
            default = " ".join(map(str, default))
        if default in (None, "", argparse.SUPPRESS) or "default" in text:
            return text
        value = str(default).replace("%", "%%")  # as argparse formats the text
        return f"{text} (default: {value})"


Main = TypeVar("Main", bound=Callable[..., int])


def report_errors(main: Main) -> Main:
    """Let a command end with one line on stderr and an exit code where an error of ours is raised.

    So it does where it is stopped (Ctrl-C), and where its results cannot be written to stdout. It
    says nothing where nobody reads on, as in `python predict.py *.png | head -1`: the exit code is
    that of the work if this was done, and `CUT_SHORT` if it ended there. Names that stdout cannot
    show are shown with backslashes. Any other error keeps its traceback.

    Parameters
    ----------
    main : callable
        Takes the words of the command line, and returns the exit code.
    """

    @functools.wraps(main)
    def report(*args: Any, **options: Any) -> int:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        code, end, fault = CUT_SHORT, None, None
        try:
            code = main(*args, **options)
        except DigitError as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            code = error.exit_code
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
            code = INTERRUPTED
        except SystemExit as error:  # of argparse: help was printed, or the usage is wrong
            end, code = error, error.code if isinstance(error.code, int) else 0
        except OSError as error:
            if not _is_about_stdout(error):
                raise
            fault = error
        try:
            print(end="", flush=True)  # here, not at the end of Python, where it is too late
        except OSError as error:
            fault = error
        if fault:
            # Python writes what is left when it ends; see "Note on SIGPIPE" in its documentation.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if fault and not isinstance(fault, BrokenPipeError):
            print(f"error: cannot write to stdout: {fault.strerror}", file=sys.stderr)
            return OutputError.exit_code
        if end:
            raise end
        return code

    return cast("Main", report)


def _is_about_stdout(error: OSError) -> bool:
    """Tell whether stdout cannot be written any more; nothing is written to find out."""
    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):  # kept in memory, as a notebook and tests do
        return False
    if isinstance(error, BrokenPipeError) and hasattr(select, "poll"):  # other pipes break, too
        poll = select.poll()
        poll.register(stdout, 0)
        return bool(poll.poll(0))  # nobody reads at the other end
    # What writes files of ours names them in an error of ours.
    return error.filename is None and error.errno in _STDOUT_ERRORS


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
        torch.zeros(1, device=device).cpu()  # "meta" takes values, but does not give them back
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"device {name!r} cannot be used here; choose 'auto' or 'cpu' ({error})"
        ) from error
    return device


def count_processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: in a container fewer than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_crowd(name: str, count: int) -> None:
    """Refuse more threads or processes than a machine can do anything with.

    Parameters
    ----------
    name : str
        What the user calls them, such as "--threads".
    count : int
        How many are asked for.

    Raises
    ------
    SettingsError
        If it is less than 0, or more than `MOST_PER_PROCESSOR` for each processor.
    """
    most = MOST_PER_PROCESSOR * count_processors()
    if not 0 <= count <= most:
        raise SettingsError(f"{name} {count} cannot work here: choose 0 to {most:,}")


def check_name(flag: str, text: str) -> None:
    """Refuse what is no name, or would lead to another folder.

    Raises
    ------
    SettingsError
        If it is empty, or a path.
    """
    if not text.strip() or "\\" in text or Path(text).name != text or text == os.pardir:
        raise SettingsError(f"{flag} {text!r}: give a name, not a path or nothing")


def shorten_path(path: Path) -> Path:
    """Show a path from the current folder if it lies below it."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def check_writable(folder: Path, *, purpose: str, advice: str) -> None:
    """See whether a folder could be written, before hours are spent on what is to go there.

    Nothing is left there, and a folder that is missing is not made yet.

    Parameters
    ----------
    folder : Path
    purpose : str
        For the message: "where the weights are to go".
    advice : str
        For the message, besides to make room or permission: "name another --models-dir".

    Raises
    ------
    OutputError
        If it could not.
    """
    try:
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}, {purpose} ({error.strerror or error}); "
            f"make room or permission there, or {advice}"
        ) from error


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
        If the folder cannot be made, the file cannot be written there, or the system refuses
        another file that the block needs, which is named then. Errors of ours go through.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(_TOKEN)}{path.suffix}")
        # Not with `tempfile`, whose files only the owner may read: results are for everyone whom
        # the umask lets.
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except DigitError:  # some are an OSError as well, and say themselves what was wrong
        raise
    except OSError as error:
        culprit = _name_other_file(error, temporary)
        raise OutputError(f"cannot write {path}: {culprit}{error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def find_unfinished(path: Path) -> list[Path]:
    """Find what `atomic_write` was writing in the place of a file when its process was killed.

    Nobody may be writing the file now.
    """
    token = "[0-9a-f]" * 2 * _TOKEN
    name = f".{glob.escape(path.stem)}-{token}{glob.escape(path.suffix)}"
    return sorted(path.parent.glob(name))


def _name_other_file(error: OSError, own: Path) -> str:
    """Name the file that a system call failed on, with a colon, unless it is our own or unknown."""
    # Copying to a full disk names both files: the room is missing on our side.
    given = (error.filename, error.filename2)  # or a number, or nothing
    names = {os.fsdecode(each) for each in given if isinstance(each, (str, bytes, os.PathLike))}
    if not names or os.fspath(own) in names:
        return ""
    return f"{', '.join(sorted(names))}: "


def save_tensors(content: Any, path: Path) -> None:
    """Write plain values and tensors to a file that `torch.load` reads; an older one is replaced.

    Raises
    ------
    OutputError
        If the file cannot be written; the old one stands.
    """
    import torch

    # Through memory, because torch.save reports a full disk as a bare RuntimeError.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


@contextlib.contextmanager
def hold_lock(path: Path, *, busy: str, timeout_s: float = 0.0) -> Iterator[None]:
    """Let one process and one thread at a time run the block.

    Parameters
    ----------
    path : Path
        Of the lock's file, which stays. Its folder is made if it is missing. The system opens the
        lock of a process that was killed.
    busy : str
        What to say when another has the lock, and what to do then.
    timeout_s : float, default=0.0
        How long to wait for the other, in seconds.

    Raises
    ------
    BusyError
        If another has the lock.
    OutputError
        If the file cannot be written.
    """
    from filelock import FileLock, Timeout  # imports asyncio, for which no help text should wait

    lock = FileLock(path, timeout=timeout_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise BusyError(busy) from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _sync(path: Path) -> None:
    """Push the file to the disk, so that a power cut after the rename cannot leave it empty."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def set_up_logging(*, verbose: bool = False) -> None:
    """Send log lines to stderr, so that results on stdout can be piped. For `main` only."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s",
        stream=sys.stderr,
    )


def count_noun(number: int, noun: str) -> str:
    """Put a number before a noun: "1 picture", "1,200 pictures"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(path: str | os.PathLike[str]) -> str:
    """Show a name whose bytes may not be valid UTF-8 in a form that every file format takes.

    >>> printable("é" + os.fsdecode(bytes([0xE9]))).isprintable()
    True
    """
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: str | os.PathLike[str]) -> str:
    r"""Show a name or a message that holds one in a line of its own, whatever characters it has.

    A file may be called anything: a line break would look like another row of a table, an escape
    sequence would colour the terminal, and a mark of direction turn round what follows.

    >>> one_line("new\nline.png")
    'new\\nline.png'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), printable(text))
