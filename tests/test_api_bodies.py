"""Bodies are read strictly, and every refusal names the field."""

from __future__ import annotations

import pytest

from api_bodies import check_json, describe_fault, try_base64
from api_models import PictureIn, PicturesIn
from errors import EncodingError, RequestError, SettingsError


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


def test_one_picture_of_many_that_is_no_base64_becomes_its_error():
    assert isinstance(try_base64("%%%%", "images[3]"), EncodingError)
    assert try_base64("QQ==", "images[4]") == b"A"


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
