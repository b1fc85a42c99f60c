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
    """No picture of that name."""

    http_status = 404


class ImageTooLargeError(ImageError):
    """The picture has more pixels or bytes than we are willing to decode."""

    http_status = 413


class BlankImageError(ImageError):
    """The picture was read, but there is no ink in it."""

    http_status = 422

    def __init__(
        self,
        reason: str = "the picture is blank: use one with ink in it, or with more contrast",
        subject: str = "",
    ) -> None:
        super().__init__(reason, subject)


class EncodingError(ImageError):
    """The picture was sent as text, and the text is not base64."""

    http_status = 422


class ArchitectureError(DigitError, ValueError):
    """No network of that name, or weights that do not fit it."""


class ModelNotFoundError(DigitError, FileNotFoundError):
    """No checkpoint of that name."""

    http_status = 404
    for_strangers = "there is no such model; choose another"


class CheckpointError(DigitError, ValueError):
    """The file is not a checkpoint of ours, or it is damaged."""

    for_strangers = "this model cannot be used; choose another"


class DataNotFoundError(DigitError, FileNotFoundError):
    """The data set is not on this machine and could not be fetched."""


class UploadError(DigitError, ValueError):
    """What a visitor handed over is not there any more, or holds nothing that can be read."""

    http_status = 422
    for_strangers = ""


class DataFormatError(DigitError, ValueError):
    """The data file is there, but its contents are not what they should be."""

    for_strangers = _DISK


class SettingsError(DigitError, ValueError):
    """An option or a setting has a value that cannot work."""

    exit_code = 2
    http_status = 422
    for_strangers = ""


class DivergenceError(DigitError, ArithmeticError):
    """A training went wrong: its loss is not a number any more."""


class OutputError(DigitError, OSError):
    """A result could not be written: no space, no permission, or no such folder."""

    http_status = 507
    for_strangers = _DISK


class AccessError(DigitError, PermissionError):
    """The request would change something, and the administrator token is missing or wrong."""

    http_status = 401
    for_strangers = ""


class ChangesOffError(AccessError):
    """Nobody may change anything on this server."""

    http_status = 403


class BusyError(DigitError, RuntimeError):
    """Something that can run only once is running already."""

    http_status = 409
    for_strangers = "the server is busy with something else; try again in a moment"


class OvertakenError(BusyError):
    """Somebody else has changed what a decision rests on, before it was carried out."""


class OverloadedError(DigitError, RuntimeError):
    """More is waiting than can be answered soon; the same request may work in a moment."""

    http_status = 503
    for_strangers = ""


class WorkerError(DigitError, RuntimeError):
    """A process that was to work for this one did not start, or ended too early."""

    http_status = 503
    for_strangers = "the server has a problem with one of its processes; try again in a moment"


class MeasurementError(DigitError, RuntimeError):
    """What was measured did not do its work, so that its time would mean nothing."""


class AddressError(DigitError, OSError):
    """A server cannot listen there: the port is in use, or this machine has no such address."""


class RequestError(DigitError, ValueError):
    """What was sent is not what its type says: JSON that is none, a form without parts."""

    for_strangers = ""


class ContentTypeError(DigitError, ValueError):
    """What was sent is of a type that is not read here."""

    http_status = 415
    for_strangers = ""
