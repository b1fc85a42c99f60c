"""Every error that this project raises on purpose.

Each class says how the two outer doors report it: `exit_code` for command lines, and for the web
`http_status` and `for_strangers`, what other machines are told in place of a message that may name
files and processes of this one. It is empty where a message is about what they sent. A class also
inherits the built-in error that a caller would expect to catch, so `except FileNotFoundError` and
`except ValueError` go on working.

A message says what was wrong, with which file or value, and what to do now.
"""

from __future__ import annotations

THE_PICTURE = "the picture"  # the subject where one was given as bytes or pixels, without a name
_DISK = "the server has a problem with its disk; try again later"


class DigitError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code = 1
    http_status = 400
    for_strangers = "the server cannot do this now; its log says why"


class ImageError(DigitError, ValueError):
    """The picture cannot be read: missing, damaged, not a picture, or of an impossible shape.

    Also a `ValueError`.

    Parameters
    ----------
    reason : str
        What is wrong, and what to do now.
    subject : str, default=""
        What it is wrong with: the path of a file, the field of a request, or `THE_PICTURE`. Empty
        where the reason is a whole sentence.

    Attributes
    ----------
    reason, subject : str
        As given; the message is both, with a colon between them.
    """

    http_status = 415
    for_strangers = ""

    def __init__(self, reason: str, subject: str = "") -> None:
        # Both become `args`, from which a copy in another process is made.
        super().__init__(reason, subject)
        self.reason = reason
        self.subject = subject

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}" if self.subject else self.reason

    def about(self, subject: str) -> ImageError:
        """Say the same of something else, such as the field in which a picture was sent."""
        return type(self)(self.reason, subject)


class ImageNotFoundError(ImageError, FileNotFoundError):
    """There is no file of the name that was given for a picture. Also a `FileNotFoundError`."""

    http_status = 404


class ImageTooLargeError(ImageError):
    """Pictures have more pixels or bytes than we are willing to decode. Also a `ValueError`."""

    http_status = 413


class BlankImageError(ImageError):
    """The picture was read, but there is no ink in it. Also a `ValueError`."""

    http_status = 422

    def __init__(
        self,
        reason: str = "the picture is blank: use one with ink in it, or with more contrast",
        subject: str = "",
    ) -> None:
        super().__init__(reason, subject)


class EncodingError(ImageError):
    """The picture was sent as text, and the text is not base64. Also a `ValueError`."""

    http_status = 422


class ArchitectureError(DigitError, ValueError):
    """There is no network of that name, or it would not work. Also a `ValueError`."""


class ModelNotFoundError(DigitError, FileNotFoundError):
    """There is no checkpoint of that name. Also a `FileNotFoundError`."""

    http_status = 404
    for_strangers = "there is no such model; choose another"


class CheckpointError(DigitError, ValueError):
    """The file is no checkpoint of ours, is damaged, or has changed. Also a `ValueError`."""

    for_strangers = "this model cannot be used; choose another"


class DataNotFoundError(DigitError, FileNotFoundError):
    """A data set, table, folder or archive is not there, or empty. Also a `FileNotFoundError`."""


class UploadError(DigitError, ValueError):
    """What a visitor handed over is gone, or holds nothing to be read. Also a `ValueError`."""

    http_status = 422
    for_strangers = ""


class DataFormatError(DigitError, ValueError):
    """A file of data is there, but is not what it should be. Also a `ValueError`."""

    for_strangers = _DISK


class SettingsError(DigitError, ValueError):
    """An option or a setting has a value that cannot work. Also a `ValueError`."""

    exit_code = 2
    http_status = 422
    for_strangers = ""


class DivergenceError(DigitError, ArithmeticError):
    """The loss of a training is not a number any more. Also an `ArithmeticError`."""


class OutputError(DigitError, OSError):
    """A result cannot be written: no space, no permission, or no folder. Also an `OSError`."""

    http_status = 507
    for_strangers = _DISK


class AccessError(DigitError, PermissionError):
    """A request needs the administrator token, and has none or a wrong one.

    Also a `PermissionError`.
    """

    http_status = 401
    for_strangers = ""


class ChangesOffError(AccessError):
    """Nobody may change anything on this server. Also a `PermissionError`."""

    http_status = 403


class BusyError(DigitError, RuntimeError):
    """Something that can run only once is running already. Also a `RuntimeError`."""

    http_status = 409
    for_strangers = "the server is busy with something else; try again in a moment"


class OvertakenError(BusyError):
    """What a decision rests on was changed before it was carried out. Also a `RuntimeError`."""


class OverloadedError(DigitError, RuntimeError):
    """More is waiting than can be answered soon, or the server is stopping.

    The same request may work in a moment. Also a `RuntimeError`.
    """

    http_status = 503
    for_strangers = ""


class WorkerError(DigitError, RuntimeError):
    """A process that was to work for this one did not start, or ended. Also a `RuntimeError`."""

    http_status = 503
    for_strangers = "the server has a problem with one of its processes; try again in a moment"


class MeasurementError(DigitError, RuntimeError):
    """What is measured did not do its work: its time means nothing. Also a `RuntimeError`."""


class AddressError(DigitError, OSError):
    """A server cannot listen there: no such address, or the port is taken. Also an `OSError`."""


class RequestError(DigitError, ValueError):
    """A body is not what its type says, such as JSON that is none. Also a `ValueError`."""

    for_strangers = ""


class ContentTypeError(DigitError, ValueError):
    """A body is of a type that is not read here. Also a `ValueError`."""

    http_status = 415
    for_strangers = ""
