"""Pixels as the content of a file, and as a data URL that a page shows without a file.

pixels -> encode_png, encode_jpeg -> bytes -> data_url -> "data:image/png;base64,..."

>>> picture_url(np.zeros((28, 28), np.uint8))[:22]
'data:image/png;base64,'
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from pixels import to_bytes

JPEG_QUALITY = 85
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
