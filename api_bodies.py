"""Take the pictures out of a request, however they were sent. Nothing is written to the disk.

| content type                         | what the body is                                     |
|--------------------------------------|------------------------------------------------------|
| application/json                     | {"image": base64 or data URL}, or {"images": [...]}  |
| multipart/form-data                  | files in fields called `image` (or `file`, `images`) |
| image/*, application/octet-stream    | the file of one picture                              |

    >>> pictures = await read_pictures(request, most=1)
    >>> pictures[0].field, len(pictures[0].content)
    ('image', 1932)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from encoding import decode_base64
from errors import ContentTypeError, ImageError, RequestError, SettingsError

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.datastructures import FormData

Schema = TypeVar("Schema", bound=BaseModel)

FIELDS = {"image", "images", "file"}  # of a form
LARGE = 2**18  # bytes from which on a body is decoded in a thread: it takes a millisecond
MAX_PARTS = 100
_WAYS = (
    'send application/json with {"image": "<base64>"}, multipart/form-data with a file called '
    "image, or the file itself as image/png; with curl: curl -F image=@seven.png URL"
)
_OBJECT = "send an object as application/json"


@dataclass(frozen=True)
class Sent:
    """A picture that came with a request.

    Attributes
    ----------
    field : str
        Where it was, for messages: "image", "images[3]", "body".
    content : bytes or ImageError
        The file, not yet decoded; or why there is none.
    """

    field: str
    content: bytes | ImageError


async def read_pictures(request: Request, *, most: int, schema: type[BaseModel]) -> list[Sent]:
    """Take all pictures out of a request.

    Parameters
    ----------
    request : Request
    most : int
        How many there may be.
    schema : type of BaseModel
        What JSON has to look like: `api_models.PictureIn` or `PicturesIn`.

    Returns
    -------
    list of Sent
        At least one.

    Raises
    ------
    ContentTypeError
        If the body is of another type, or compressed.
    RequestError
        If it is not what its type says.
    SettingsError
        If a field is missing, unknown or wrong; the message names it.
    """
    kind = kind_of(request)
    _refuse_compressed(request)
    if is_json(kind):
        body = await request.body()
        if len(body) < LARGE:
            return _from_json(body, schema)
        return await asyncio.to_thread(_from_json, body, schema)
    if kind == "multipart/form-data":
        return await _from_form(request, most)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [Sent("body", await request.body())]
    raise ContentTypeError(f"Content-Type: {kind[:80] or 'none'} is not read here; {_WAYS}")


async def read_json(request: Request, schema: type[Schema]) -> Schema:
    """Read a small JSON body by its schema, once the handler asks for it and not before.

    FastAPI reads a body that it knows of before it asks whether the request is allowed at all.

    Raises
    ------
    ContentTypeError
        If the body is of another type.
    RequestError, SettingsError
        As `check_json` does.
    """
    require_json(request)
    return check_json(await request.body(), schema, advice=_OBJECT)


def require_json(request: Request) -> None:
    """Refuse a body that does not say that it is JSON.

    Raises
    ------
    ContentTypeError
        If it says something else, or nothing.
    """
    kind = kind_of(request)
    if not is_json(kind):
        raise ContentTypeError(
            f"Content-Type: {kind[:80] or 'none'} is not read here; {_OBJECT}; with curl: --json"
        )
    _refuse_compressed(request)


def _refuse_compressed(request: Request) -> None:
    """Refuse a packed body: a few bytes may become gigabytes, and pictures are packed already."""
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise ContentTypeError(
            f"Content-Encoding: {coding[:80]} is not read here; send the body uncompressed"
        )


def kind_of(request: Request) -> str:
    """Give the content type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether a content type means JSON."""
    return kind == "application/json" or kind.endswith("+json")


def _from_json(body: bytes, schema: type[BaseModel]) -> list[Sent]:
    """Take pictures out of JSON."""
    values: Any = check_json(body, schema)
    if "image" in schema.model_fields:
        return [Sent("image", try_base64(values.image, "image"))]
    named = [(f"images[{at}]", text) for at, text in enumerate(values.images)]
    return [Sent(field, try_base64(text, field)) for field, text in named]


def check_json(body: bytes, schema: type[Schema], *, advice: str = _WAYS) -> Schema:
    """Read JSON by its schema; `advice` says what to send instead of what is no JSON.

    Raises
    ------
    RequestError
        If it is not JSON.
    SettingsError
        If a field is missing, unknown or wrong.
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise RequestError(f"body: not JSON ({first['msg']}); {advice}") from error
        raise SettingsError(describe_fault(first["loc"], first["msg"])) from error


def describe_fault(place: tuple[int | str, ...], message: str) -> str:
    """Say which field is wrong, and why, in one line."""
    field = ""
    for part in place:
        field += f"[{part}]" if isinstance(part, int) else f".{part[:80]}" if field else part[:80]
    message = message.removeprefix("Value error, ")  # of what our own checks raise
    return f"{field or 'body'}: {message[:1].lower()}{message[1:]}"


def try_base64(text: str, field: str) -> bytes | ImageError:
    """Decode base64, or say why it is none: one picture of many must not spoil the others."""
    try:
        return decode_base64(text, field)
    except ImageError as error:
        return error


async def _from_form(request: Request, most: int) -> list[Sent]:
    """Take pictures out of a form."""
    form = await _parse_form(request)
    try:
        unknown = sorted({name for name, _ in form.multi_items()} - FIELDS)
        if unknown:
            raise SettingsError(f"{unknown[0][:80]}: unknown field; call the file image")
        files = [value for _, value in form.multi_items()]
        if not files:
            raise SettingsError("image: field required; send the picture as a file called image")
        if len(files) > most:
            (field, _), *_ = form.multi_items()
            advice = "at most 1 is taken; for several there is POST /predict/batch"
            advice = f"at most {most} are taken" if most > 1 else advice
            raise SettingsError(f"{field}: {len(files)} pictures; {advice}")
        if any(isinstance(value, str) for value in files):
            raise SettingsError("image: it has to be a file; with curl: -F image=@seven.png")
        contents = [value.file.read() for value in files if not isinstance(value, str)]
    finally:
        await form.close()
    if most == 1:
        return [Sent("image", contents[0])]
    return [Sent(f"images[{at}]", content) for at, content in enumerate(contents)]


async def _parse_form(request: Request) -> FormData:
    """Parse a form in memory: the size of the body is limited already, and no disk can be full."""
    from starlette.formparsers import MultiPartException, MultiPartParser

    class InMemory(MultiPartParser):
        spool_max_size = 2**40

    parser = InMemory(request.headers, request.stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS)
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "message", None) or "it has no boundary, or a damaged header"
        raise RequestError(f"body: not a form ({str(reason)[:200]}); {_WAYS}") from error
