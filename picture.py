"""Open any picture: a path, bytes, an open file, a PIL image, a NumPy array or a torch tensor.

    anything -> decoded, turned upright, transparent parts laid on a ground
             -> (height, width), or (height, width, 3) where there is colour

What comes out is small: a photograph is reduced to `WORKING_SIDE` pixels, or as many as are asked
for, partly while it is decoded. The size of the original is kept, so that boxes found in
the small picture can be drawn on the large one.

    >>> open_picture(np.zeros((4, 6), np.uint8)).pixels.shape
    (4, 6)
"""

from __future__ import annotations

import io
import itertools
import os
import re
import stat
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard, Union, cast

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.IcoImagePlugin import IcoFile
from PIL.JpegImagePlugin import JpegImageFile

from errors import THE_PICTURE, ImageError, ImageNotFoundError, ImageTooLargeError
from pixels import rescale

if TYPE_CHECKING:
    import torch

_Encoded: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO]
PictureSource: TypeAlias = Union[_Encoded, Image.Image, np.ndarray, "torch.Tensor", "Picture"]

MAX_BYTES = 64 * 2**20  # an encoded file; the largest phone photographs have about 40 MB
_BLOCK_BYTES = 2**20  # that are asked of an open file at a time
_STRIP_PIXELS = 2**20  # of a large picture, that are converted at a time
MAX_PIXELS = 80_000_000  # below the 89 million at which Pillow starts to warn
MAX_SIDE = 16_384
# Pillow decodes JPEG 2000 with Python's lock held, so that all other threads wait for it: one
# second for 4 million pixels and 2 MB, but five for 13 MB, and fourteen for 79 million pixels of
# white, which are a file of 1 kB.
MAX_JPEG2000_PIXELS = 4_000_000
MAX_JPEG2000_BYTES = 2 * 2**20
# What Pillow decodes in Python takes up to two seconds for a million pixels: QOI, plain PPM, PPM
# whose brightest value is not 255, DDS without compression. Enough for a picture of a whole screen.
MAX_PYTHON_PIXELS = 2**21
# Each scan of a JPEG goes over all pixels, whatever size is asked for, and may take no more than 31
# bytes of the file: 20 MB of them are hours. Programs write up to about twenty.
MAX_SCANS = 50
_SCAN, _END = b"\xda", b"\xd9"
# What begins a part of a JPEG: not a stuffed byte, nor one of the marks that stand alone.
_PART = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
# What cameras, scanners, fax and drawing programs write. Pillow reads twenty more, of games and
# laboratories, and starts other programs for some of them (EPS): not for a stranger's file.
# Photographs of some phones (MPO) count as JPEG. Targa has no mark of its own, so it comes last.
# Icons are read too, see `_open_image`.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000"),
    *("PSD", "PCX", "DCX", "QOI", "SGI", "DDS", "TGA"),
)
_ICON_MARK = b"\0\0\1\0"
# How a PNG begins whose pixels come first: its header with the size, five bytes that say how pixels
# are coded, and a checksum; then the length and the name of the block of pixels.
_PNG_HEAD = struct.Struct(">16sII5B4xI4s")
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_GREY_BYTES = [8, 0, 0, 0, 0]  # eight bits, grey, the usual packing, row after row
_PNG_REST = 4 + 12  # bytes after the pixels: their checksum, and an empty block that ends the file
WORKING_SIDE = 320  # pixels; longer sides are reduced to this, unless something else is asked for

_UNIT = np.arange(256, dtype=np.float32) / 255  # what each byte means
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # more than eight bits for each value
_DEEP_WHITES = (1_023, 4_095, 16_383, 65_535)  # the largest of 10, 12, 14 and 16 bits
_JUST_ABOVE = 2  # up to this, floats are those of 0..1, gone beyond as when they are resized
# From this on, floats may be bytes. What ends between the two is mostly in another measure, such as
# standardised or in percent, and would be a picture that is nearly black.
_BYTES_FROM = 128
CHANNELS = (1, 2, 3, 4)  # grey, colour, each without and with transparency
_PLANES = (1, 3, 4)  # channels that may come first; two grey planes are rather two pictures
# What turns a picture upright, by how the camera was held (EXIF's orientation).
_UPRIGHT = 1
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # those that exchange width and height
_SHEET_CONTRAST = 0.1  # of the full range; a bar of one colour is a stroke, not a sheet

# A file can be damaged in as many ways as there are formats, and Pillow passes on whatever its
# decoders raise (AVIF's a RuntimeError). MemoryError is not among them: it says something about us,
# not about the file.
DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, AssertionError),
    *(RuntimeError, struct.error, zlib.error),
)


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    pixels : ndarray of shape (height, width) or (height, width, 3), float32
        Grey, or red, green and blue where they differ, from 0.0 to 1.0, upright, without
        transparency.
    width, height : int
        Of the original, upright, in pixels; `pixels` may be smaller.
    """

    pixels: np.ndarray = field(repr=False)
    width: int
    height: int


def open_picture(source: PictureSource, *, working_side: int = WORKING_SIDE) -> Picture:
    """Decode a picture and reduce it to working size.

    Parameters
    ----------
    source : path, bytes, binary file, PIL image, ndarray, Tensor or Picture
        A file in any format that Pillow reads, told by its content and not by its name (of an
        animation the first frame is used); or its bytes; or the file opened to read bytes, which
        is read from where it stands and left open; or pixels: `(height, width)` grey,
        `(height, width, 1 | 2 | 3 | 4)`, where 2 is grey with transparency, or
        `(1 | 3 | 4, height, width)` as torch has it. Integers count from 0 to 255 (uint16 beyond
        that: to 65,535; int8: to 127, its largest), floats from 0.0 to 1.0, or as bytes do
        where their largest is 128 or more; booleans, and grey integers of 0 and 1 only, are ink or
        none. Or a `Picture`, which is only reduced.
    working_side : int, default=320
        Pixels to which a longer side is reduced.

    Raises
    ------
    ImageNotFoundError
        If there is no such file.
    ImageTooLargeError
        If the file or the picture is larger than `MAX_BYTES`, `MAX_PIXELS` or `MAX_SIDE`; of
        JPEG 2000 than `MAX_JPEG2000_PIXELS` or `MAX_JPEG2000_BYTES`; of what is decoded in Python
        than `MAX_PYTHON_PIXELS`; or if a JPEG has more than `MAX_SCANS` scans.
    ImageError
        If it is not a picture, damaged, or pixels of an impossible shape or range.
    """
    return load_picture(source, most=working_side)(working_side)


def load_picture(source: PictureSource, *, most: int) -> Callable[[int], Picture]:
    """Take a picture into memory, to be looked at in one working size or in several.

    It is decoded once, but for a JPEG, which costs less the smaller it is decoded.

    Parameters
    ----------
    source : path, bytes, binary file, PIL image, ndarray or Tensor
        See `open_picture`.
    most : int
        The largest working side that will be asked for, in pixels.

    Returns
    -------
    callable
        Gives the picture for a working side in pixels. Its errors, and those of this function, are
        those of `open_picture`.
    """
    if isinstance(source, (str, os.PathLike)):
        return _decode(*_read_file(os.fspath(source)), most)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), THE_PICTURE, most)
    if isinstance(source, Picture):
        return partial(_in_size, source.pixels, source.width, source.height)
    if isinstance(source, Image.Image):
        return _from_image(source, THE_PICTURE, most)
    if isinstance(source, np.ndarray):
        return _from_array(source, most)
    if _is_tensor(source):
        return _from_array(_to_array(source), most)
    if hasattr(source, "read"):
        return _decode_open_file(cast("BinaryIO", source), most)
    raise ImageError(
        f"cannot read a picture from {type(source).__name__}: "
        "give a path, bytes, a file opened with 'rb', a PIL image, a NumPy array or a torch tensor"
    )


def _in_size(values: np.ndarray, width: int, height: int, working_side: int) -> Picture:
    """Give decoded values in a working size."""
    return Picture(_to_pixels(_reduce(values, working_side)), width, height)


def _read_file(path: str) -> tuple[bytes, str]:
    """Read a file; every error names it, as those of its decoding do."""
    try:
        about = os.stat(path)  # noqa: PTH116 - Path takes longer
        if stat.S_ISFIFO(about.st_mode) and not path.startswith(("/dev/", "/proc/")):
            # Where nobody writes, to open it would take for ever. What a shell gives as a pipe,
            # as in `predict.py <(curl ...)`, lies below /dev.
            raise ImageError("is a device or a pipe, not a file; take it out of the list", path)
        with open(path, "rb") as file:  # noqa: PTH123 - Path takes as long again as reading
            size = os.fstat(file.fileno()).st_size
            # A device or a pipe has no size, and maybe no end. (Where a size is known, to read all
            # is faster than to ask for so many bytes.)
            content = b"" if size > MAX_BYTES else file.read(-1 if size else MAX_BYTES + 1)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageNotFoundError("no such file; check the name and the folder", path) from error
    except IsADirectoryError as error:
        raise ImageError("is a folder; give a picture, or use batch_processor.py", path) from error
    except PermissionError as error:
        raise ImageError(
            f"cannot be opened ({error.strerror}); check its permissions", path
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"cannot be opened ({reason}); check the name and the folder", path
        ) from error
    _check_bytes(size, path)
    return content, path


def _decode_open_file(file: BinaryIO, most: int) -> Callable[[int], Picture]:
    """Decode a file from where it stands, and say where that was if there is no picture."""
    try:
        start = file.tell()
    except (OSError, ValueError, AttributeError):  # a pipe, closed, or only like a file
        start = 0
    content, name = _read_open_file(file)
    try:
        return _decode(content, name, most)
    except ImageTooLargeError:
        raise
    except ImageError as error:
        if not start:
            raise
        where = f"it was read from byte {start:,} on; seek(0) goes back to its beginning"
        raise ImageError(f"{error.reason} ({where})", error.subject) from error


def _read_open_file(file: BinaryIO) -> tuple[bytes, str]:
    """Read a file from where it stands, hardly more than may be decoded; and tell its name."""
    called = getattr(file, "name", None)
    name = called if isinstance(called, str) else THE_PICTURE
    content = bytearray()
    try:
        while len(content) <= MAX_BYTES and (block := file.read(_BLOCK_BYTES)):
            content += block
    except (OSError, ValueError, TypeError) as error:  # closed, or opened to write or as text
        reason = getattr(error, "strerror", None) or error
        raise ImageError(
            f"cannot be read ({reason}); give a file that was opened with 'rb'", name
        ) from error
    if not content:
        raise ImageError(
            "the file is empty, or was read to its end before: go back with seek(0)", name
        )
    return bytes(content), name


def _decode(content: bytes, name: str, most: int) -> Callable[[int], Picture]:
    """Decode the bytes of a file."""
    if not content:
        raise ImageError("the file is empty; save or copy it again", name)
    _check_bytes(len(content), name)
    plain = _decode_plain_png(content, most)
    if plain is not None:
        return partial(_in_size, plain, plain.shape[1], plain.shape[0])
    image = _open_header(content, name)
    if isinstance(image, JpegImageFile):
        _check_scans(image, content, name)
        if not _is_progressive(image):
            # Its header is read anew only for a second look.
            again = iter(partial(_open_header, content, name), None)
            return partial(_decode_jpeg, itertools.chain([image], again), name)
    with image:
        _check_effort(image, len(content), name)
        return _from_image(image, name, most, reduce=True)


def _check_scans(image: JpegImageFile, content: bytes, name: str) -> None:
    """Refuse a JPEG that would be decoded again and again."""
    scans = _find_scans(content)
    colours = next(scans, image.layers)
    if not _is_progressive(image) and colours == image.layers:
        return  # all is in the first scan; decoders stop at a second one
    if sum(1 for _ in itertools.islice(scans, MAX_SCANS)) == MAX_SCANS:
        raise ImageTooLargeError(
            f"a JPEG of more than {MAX_SCANS} scans; save it again, or as PNG", name
        )


def _is_progressive(image: JpegImageFile) -> bool:
    """Whether a JPEG comes coarse first, so that all of it has to be read, however small."""
    return "progressive" in image.info


def _find_scans(content: bytes) -> Iterator[int]:
    """Follow the parts of a JPEG as decoders do; give the number of colours in each scan."""
    at = 0
    while (part := _PART.search(content, at)) and part[1] != _END:
        at = part.end()
        length, colours = content[at : at + 2], content[at + 2 : at + 3]
        if part[1] == _SCAN and colours:
            yield colours[0]
        at += int.from_bytes(length, "big")


def _decode_jpeg(opened: Iterator[Image.Image], name: str, working_side: int) -> Picture:
    """Decode the next of several opened copies of a JPEG, no larger than it is needed."""
    with next(opened) as image:
        return _from_image(image, name, working_side, reduce=True)(working_side)


def _decode_plain_png(content: bytes, most: int) -> np.ndarray | None:
    """Decode a small grey PNG that holds nothing but its pixels, in a fifth of Pillow's time.

    Such are the millions of files that data sets of digits are kept in. Anything else, and whatever
    is wrong with the file, is left to Pillow: the answer is None.

    Parameters
    ----------
    content : bytes
    most : int
        Pixels on a side up to which a picture counts as small.
    """
    if len(content) < _PNG_HEAD.size:
        return None
    start, width, height, *coding, length, kind = _PNG_HEAD.unpack_from(content)
    is_plain = (start, kind, coding) == (_PNG_START, b"IDAT", _GREY_BYTES)
    is_all = len(content) == _PNG_HEAD.size + length + _PNG_REST
    if not (is_plain and is_all and 0 < width <= most and 0 < height <= most):
        return None
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def _open_header(content: bytes, name: str) -> Image.Image:
    """Read the header of a file."""
    try:
        return _open_image(content)
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"too large; at most {MAX_SIDE:,} pixels on a side and "
            f"{MAX_PIXELS // 10**6} million in all are read: save a smaller copy",
            name,
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError("not a picture in a known format; save it as PNG or JPEG", name) from error
    except DAMAGE as error:
        raise ImageError(f"the file is damaged ({error}); save or copy it again", name) from error


def _open_image(content: bytes) -> Image.Image:
    """Read the header of a picture."""
    file = io.BytesIO(content)
    if content.startswith(_ICON_MARK):
        # Pillow decodes an icon while it opens it, and the PNG in one may have any size.
        return IcoFile(file).frame(0)
    return Image.open(file, formats=_known_formats())


@lru_cache(maxsize=1)
def _known_formats() -> tuple[str, ...]:
    """Name those of `FORMATS` that this Pillow knows; AVIF came with 11.3."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _from_image(
    image: Image.Image, name: str, most: int, *, reduce: bool = False
) -> Callable[[int], Picture]:
    """Decode a PIL image: check its size, turn it upright, lay transparent parts on a ground.

    A JPEG can be decoded at a half, a quarter or an eighth for a fraction of the time; `reduce`
    allows that. It changes the image itself, so not to one that belongs to somebody else.
    """
    width, height = image.size
    _check_size(width, height, name)
    try:
        if reduce:
            scale = most / max(width, height)
            image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
        image.load()  # turns TIFF files upright by itself, and takes the orientation away
        orientation = read_orientation(image)
        if orientation in SIDEWAYS:
            width, height = height, width
        values = _values_of(image, most, orientation)
    except DAMAGE as error:
        raise ImageError(f"the file is damaged ({error}); save or copy it again", name) from error
    return partial(_in_size, _reduce(values, most), width, height)


def read_orientation(image: Image.Image) -> int:
    """Tell how the camera was held, as EXIF counts it.

    Returns
    -------
    int
        1 to 8; 1, which is upright, also where the file says nothing about it, or nonsense.
    """
    value = image.getexif().get(ExifTags.Base.Orientation)
    return int(value) if value in _TURNS else _UPRIGHT


def _values_of(image: Image.Image, most: int, orientation: int) -> np.ndarray:
    """Decode to grey, three channels, or four where there is transparency; uint8 or float32."""
    is_deep, is_float = image.mode in _DEEP_MODES, image.mode == "F"
    if is_deep:
        mode = "F"
    elif image.has_transparency_data:
        mode = "RGBA"
    else:
        mode = "L" if image.mode in {"1", "L"} else "RGB"
    shrinkage = max(image.size) // most
    if shrinkage > 1:
        image = _shrink(image, shrinkage, mode)
    elif image.mode != mode:  # converting copies a picture even where there is nothing to do
        image = image.convert(mode)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    values = np.asarray(image)
    return _deep_to_unit(values, is_float=is_float) if is_deep else values


def _shrink(image: Image.Image, factor: int, mode: str) -> Image.Image:
    """Convert a picture and average squares of `factor` pixels, in strips.

    Of 80 million pixels, every copy in four bytes each takes 320 MB; so none is made of the whole.
    """
    width, height = image.size
    small = Image.new(mode, (-(-width // factor), -(-height // factor)))
    rows = factor * max(1, _STRIP_PIXELS // (width * factor))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip = strip if strip.mode == mode else strip.convert(mode)
        small.paste(strip.reduce(factor), (0, top // factor))
    return small


def _deep_to_unit(values: np.ndarray, *, is_float: bool) -> np.ndarray:
    """Bring pixels of more than eight bits, whose white level no header tells, to 0.0..1.0.

    Scanners use 10, 12 or 16 bits, and calculations go beyond 1.0, so the brightest value is white
    unless all lies within the range of floats or of bytes. Bright values are never stretched
    apart: an empty page stays as even as it was.
    """
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not numbers")
    values = values.astype(np.float64)  # the largest of 32 bits have no difference there
    low, high = min(0.0, float(values.min())), float(values.max())
    white = max(high, 1.0 if is_float or high <= 1 else 255.0)
    return ((values - low) / (white - low)).astype(np.float32)


def _is_tensor(source: object) -> TypeGuard[torch.Tensor]:
    """Tell a tensor without importing torch: nobody has one who has not done that."""
    return isinstance(source, getattr(sys.modules.get("torch"), "Tensor", ()))


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    """Copy a tensor to the CPU, in a type that NumPy knows; bfloat16 is none."""
    try:
        is_short = tensor.is_floating_point() and tensor.element_size() < 4
        return (tensor.float() if is_short else tensor).numpy(force=True)
    except (RuntimeError, TypeError) as error:  # sparse, quantised, without any memory
        raise ImageError(
            f"cannot read a tensor of {tensor.dtype} on {tensor.device} ({tensor.layout}); "
            "give a dense one of torch.uint8 or torch.float32"
        ) from error


def _from_array(values: np.ndarray, most: int) -> Callable[[int], Picture]:
    """Check the shape and range of pixels that came as an array."""
    shape = values.shape
    if values.ndim == 4 and shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[-1] not in _PLANES and values.shape[0] in _PLANES:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in CHANNELS):
        raise ImageError(
            f"an array of shape {shape} is not one picture; "
            "give (height, width), (height, width, 3) or (height, width, 4)"
        )
    if values.ndim == 3 and values.shape[-1] == 2:
        values = values[..., [0, 0, 0, 1]]
    height, width = values.shape[:2]
    _check_size(width, height, "the array")
    return partial(_in_size, _reduce(_array_to_unit(values), most), width, height)


def _array_to_unit(values: np.ndarray) -> np.ndarray:
    """Bring the numbers of an array to 0.0..1.0, by the meaning of their type."""
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    if values.dtype == np.uint8:
        # Nothing is to be seen in a grey picture of so little ink, unless it is a mask.
        return values.astype(np.float32) if values.ndim == 2 and values.max() == 1 else values
    if values.dtype.kind not in "iuf":
        raise ImageError(f"an array of {values.dtype} is not a picture; give uint8 or float32")
    if not np.isfinite(values).all():
        raise ImageError("the array holds NaN or infinity; replace them before reading it")
    low, high = float(values.min()), float(values.max())
    white = _find_white(values, low, high)
    if low < 0 or high > white:
        raise ImageError(
            f"the array of {values.dtype} runs from {low:g} to {high:g}, not from 0 to {white:g}; "
            f"{_advise_scaling(values, low, high)}"
        )
    return values.astype(np.float32) / np.float32(white)


def _advise_scaling(values: np.ndarray, low: float, high: float) -> str:
    """Say how to bring an array `a` of that range to 0.0..1.0; who does just that is right."""
    if low < 0:
        return "undo its normalisation first: (a - a.min()) / (a.max() - a.min())"
    if values.dtype.kind == "f" and high <= _JUST_ABOVE:
        return "cut off what is beyond white: a.clip(0, 1)"
    if values.dtype.kind == "f" and high < _BYTES_FROM:
        return "divide it by what is white, or by its largest value: a / a.max()"
    white = next((each for each in _DEEP_WHITES if high <= each), high)
    return f"divide it by what is white, probably: a / {white:.0f}"


def _find_white(values: np.ndarray, low: float, high: float) -> float:
    """Say which number is white, given the lowest and the highest of an array.

    As in files of 16 bits, see `_deep_to_unit`, a range of masks or of bytes tells more than the
    type: many tools keep bytes in 16 bits or in floats. In int8, which ends at 127, there are none.
    """
    is_mask = values.ndim == 2 and high == 1
    if is_mask or (values.dtype.kind == "f" and not (low >= 0 and _BYTES_FROM <= high <= 255)):
        return 1.0
    if values.dtype == np.int8:
        return 127.0
    is_short = (values.dtype.kind, values.dtype.itemsize) == ("u", 2)  # in either order of bytes
    return 65535.0 if is_short and high > 255 else 255.0


def _check_size(width: int, height: int, name: str) -> None:
    """Refuse pictures without pixels and pictures that would not fit in memory."""
    if width < 1 or height < 1:
        raise ImageError(f"{width}x{height} pixels hold nothing to read", name)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageTooLargeError(
            f"{width}x{height} pixels are too large; at most {MAX_SIDE:,} on a side and "
            f"{MAX_PIXELS // 10**6} million in all are read: save a smaller copy",
            name,
        )


def _check_bytes(count: int, name: str) -> None:
    """Refuse files that are too large to take into memory."""
    if count > MAX_BYTES:
        raise ImageTooLargeError(
            f"{count:,} bytes; at most {MAX_BYTES:,} are read: save a smaller copy", name
        )


def _check_effort(image: Image.Image, count: int, name: str) -> None:
    """Refuse what would take long to decode for its kind, by its size in pixels and bytes."""
    pixels = image.width * image.height
    if image.format == "JPEG2000" and (pixels > MAX_JPEG2000_PIXELS or count > MAX_JPEG2000_BYTES):
        raise ImageTooLargeError(
            f"JPEG 2000 of {pixels:,} pixels in {count:,} bytes; at most "
            f"{MAX_JPEG2000_PIXELS // 10**6} million pixels in {MAX_JPEG2000_BYTES // 2**20} MB "
            "are read of this format: save it as PNG or JPEG",
            name,
        )
    in_python = any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ()))
    if in_python and pixels > MAX_PYTHON_PIXELS:
        raise ImageTooLargeError(
            f"{image.format} of {pixels:,} pixels; at most {MAX_PYTHON_PIXELS:,} are read "
            "of this format in this form: save it as PNG or JPEG",
            name,
        )


def _reduce(values: np.ndarray, working_side: int) -> np.ndarray:
    """Shrink to working size; by more than half by averaging, so that noise shrinks too."""
    scale = working_side / max(values.shape[:2])
    if scale >= 1:
        return values
    # Down to a half, interpolation misses no pixel, and takes a fifth of the time of averaging.
    method = cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA
    return rescale(values, scale, method=method)


def _to_pixels(values: np.ndarray) -> np.ndarray:
    """Bring decoded values to 0.0..1.0, without transparency, and without colour if all is grey."""
    if values.ndim == 3 and values.shape[2] == 4:
        values = _lay_on_ground(values)
    if values.ndim == 3:
        red, green, blue = cv2.split(values)
        values = red if np.array_equal(red, green) and np.array_equal(red, blue) else values
    return cv2.LUT(values, _UNIT) if values.dtype == np.uint8 else values


def _lay_on_ground(values: np.ndarray) -> np.ndarray:
    """Lay what is transparent on a ground that shows it; uint8 or 0.0..1.0.

    Drawing programs save strokes on nothing: the ink may be black, white, or any colour, and the
    colour under the transparent part means nothing. So strokes get the ground that differs most
    from them; a sheet of paper with something on it (round corners, a cut-out) is continued.
    """
    if values[..., 3].min() == (255 if values.dtype == np.uint8 else 1):
        return cv2.cvtColor(values, cv2.COLOR_RGBA2RGB)
    unit = cv2.LUT(values, _UNIT) if values.dtype == np.uint8 else values
    colour, alpha = unit[..., :3], unit[..., 3:]
    # Pale strokes may be nowhere opaque; they are strokes all the same.
    opaque = _largest_part(alpha[..., 0] > 0.5 * max(float(alpha.max()), 1e-6))
    inside = colour[opaque]
    if _fills_its_box(opaque) and np.ptp(inside, axis=0).max(initial=0) > _SHEET_CONTRAST:
        ground = np.median(inside, axis=0)
    else:
        ground = np.float32(inside.size == 0 or inside.mean() < 0.5)
    return colour * alpha + ground * (1 - alpha)


def _largest_part(region: np.ndarray) -> np.ndarray:
    """Keep the largest connected part of a region."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return labels == 1 + areas.argmax() if areas.size else region


def _fills_its_box(region: np.ndarray) -> bool:
    """Whether a region is close to a rectangle, as sheets are and strokes seldom are."""
    _, _, width, height = cv2.boundingRect(region.astype(np.uint8))
    return bool(region.sum() > 0.9 * width * height)
