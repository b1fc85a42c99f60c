"""Pixels as the content of a file, and the content of a file as text: base64 or a data URL.

pixels -> encode_png, encode_jpeg -> bytes -> data_url -> "data:image/png;base64,..."
                                     bytes <- decode_base64 <-

>>> picture_url(np.zeros((28, 28), np.uint8))[:22]
'data:image/png;base64,'
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
from PIL import Image

from errors import EncodingError
from pixels import to_bytes

JPEG_QUALITY = 85
LONGEST_HEAD = 200  # characters of a data URL before its content
QUICK = 1  # the level of compression that costs hardly any time


def encode_png(pixels: np.ndarray, *, quick: bool = False) -> bytes:
    """Encode pixels as PNG, without a loss.

    Parameters
    ----------
    pixels : ndarray of shape (height, width) or (height, width, 3)
        uint8 from 0 to 255, or float from 0.0 to 1.0.
    quick : bool, default=False
        Whether time matters more than a small file.
    """
    return _encode(pixels, "PNG", **({"compress_level": QUICK} if quick else {}))


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode pixels as JPEG, for photographs a tenth as large; parameters as for `encode_png`."""
    return _encode(pixels, "JPEG", quality=JPEG_QUALITY)


def _encode(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    """Encode pixels."""
    content = io.BytesIO()
    Image.fromarray(to_bytes(pixels)).save(content, kind, **options)
    return content.getvalue()


def picture_url(pixels: np.ndarray, *, photo: bool = False) -> str:
    """Encode pixels as a data URL.

    Parameters
    ----------
    pixels : ndarray
        As for `encode_png`.
    photo : bool, default=False
        Whether to make a JPEG instead of an exact PNG.
    """
    if photo:
        return data_url(encode_jpeg(pixels), "jpeg")
    return data_url(encode_png(pixels, quick=True), "png")


def data_url(content: bytes, kind: str) -> str:
    """Make a data URL of the content of a file.

    >>> data_url(b"GIF89a", "gif")
    'data:image/gif;base64,R0lGODlh'
    """
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def decode_base64(text: object, field: str) -> bytes:
    """Decode base64 or a data URL.

    Parameters
    ----------
    text : str
        Line breaks and spaces in it are passed over, as MIME has them. Through the page's doors
        anything may come.
    field : str
        What errors are about.

    Raises
    ------
    EncodingError
        If it is something else, or empty.
    """
    if not isinstance(text, str):
        raise EncodingError("it is no text; send the file of a picture as base64", field)
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not (comma and len(head) < LONGEST_HEAD and head.lower().endswith(";base64")):
            raise EncodingError("a data URL has to begin like data:image/png;base64,", field)
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = _decode_broken_lines(text, field)
    if not content:
        raise EncodingError("it is empty; send the file of a picture as base64", field)
    return content


def _decode_broken_lines(text: str, field: str) -> bytes:
    """Decode base64 with line breaks in it."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EncodingError(
            f"not base64 ({error}); send the file of a picture as base64, or a data URL", field
        ) from error
