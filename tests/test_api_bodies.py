"""Base64, data URLs and JSON are read strictly, and every refusal names the field."""

from __future__ import annotations

import base64

import pytest

from api_bodies import LONGEST_HEAD, check_json, decode_base64, describe_fault, try_base64
from api_models import PictureIn, PicturesIn
from errors import EncodingError, RequestError, SettingsError

CONTENT = bytes(range(256))
TEXT = base64.b64encode(CONTENT).decode("ascii")
BROKEN = base64.encodebytes(CONTENT).decode("ascii")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;charset=x;BASE64,{TEXT}",
        BROKEN,
        BROKEN.replace("\n", "\r\n  "),
        f"data:;base64,{BROKEN}",
    ],
)
def test_base64_is_read_in_the_forms_that_programs_write(text: str):
    assert decode_base64(text, "image") == CONTENT


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "it is empty"),
        ("data:image/png;base64,", "it is empty"),
        (" \n", "it is empty"),
        ("%%%%", "not base64"),
        ("QQ", "not base64"),
        ("../../etc/passwd", "not base64"),
        ("http://example.com/seven.png", "not base64"),
        ("ä" * 8, "not base64"),
        ("\ud800", "not base64"),
        (TEXT.replace("+", "-").replace("/", "_"), "not base64"),
        (f"data:image/png,{TEXT}", "data:image/png;base64,"),
        (f"data:image/png;base64;{TEXT}", "data:image/png;base64,"),
        (f"data:{'x' * LONGEST_HEAD};base64,{TEXT}", "data:image/png;base64,"),
    ],
)
def test_what_is_no_base64_is_refused_by_its_field(text: str, hint: str):
    with pytest.raises(EncodingError) as caught:
        decode_base64(text, "images[3]")

    assert str(caught.value).startswith("images[3]: ")
    assert hint in str(caught.value)
    assert isinstance(try_base64(text, "images[3]"), EncodingError)


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        (b"", RequestError, "body: not JSON"),
        (b"{", RequestError, "body: not JSON"),
        (b'{"image": "\xff"}', RequestError, "body: not JSON"),
        (b"[" * 10_000, RequestError, "body: not JSON"),
        (b"[]", SettingsError, "body: "),
        (b"{}", SettingsError, "image: field required"),
        (b'{"image": 7}', SettingsError, "image: "),
        (b'{"image": NaN}', SettingsError, "image: "),
        (b'{"image": "QQ==", "path": "/etc/passwd"}', SettingsError, "path: extra"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_its_first_fault(
    body: bytes, kind: type[Exception], detail: str
):
    with pytest.raises(kind) as caught:
        check_json(body, PictureIn)

    assert str(caught.value).startswith(detail)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("sent", [5, None, ["QQ=="], {"image": "QQ=="}, b"QQ=="])
def test_what_is_no_text_is_no_picture(sent: object):
    with pytest.raises(EncodingError, match=r"^image: it is no text"):
        decode_base64(sent, "image")


def test_a_fault_in_a_list_names_its_place():
    with pytest.raises(SettingsError, match=r"^images\[1\]: "):
        check_json(b'{"images": ["QQ==", 7]}', PicturesIn)


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ((), "body"),
        (("image",), "image"),
        (("images", 3), "images[3]"),
        (("a", "b", 0), "a.b[0]"),
        (("x" * 500,), "x" * 80),
    ],
)
def test_a_field_is_named_as_programmers_write_it(place: tuple[int | str, ...], field: str):
    assert describe_fault(place, "Wrong") == f"{field}: wrong"
