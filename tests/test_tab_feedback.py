"""The handlers behind "It was a ..." and the gallery: what is kept, and who may see it."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from access import Access
from feedback import PAGE_SIZE, FeedbackStore
from pad import make_sample
from service import Service
from tab_feedback import (
    Receipts,
    browse,
    build_feedback_row,
    build_feedback_tab,
    describe_place,
    export,
    keep,
    take_back,
)
from tests.test_feedback import add

TOKEN = "correct horse battery"
LOOPBACK = Access()
LOCKED = Access(beyond_loopback=True, token=TOKEN)
OFF = Access(beyond_loopback=True)


@pytest.fixture
def make_service(tmp_path: Path, models_folder: Path) -> Callable[..., Service]:
    """Return a function that makes a service with a store of its own."""

    def make(access: Access = LOOPBACK, **options: Any) -> Service:
        store = FeedbackStore(tmp_path / "feedback.sqlite", **options)
        return Service(models_folder=models_folder, device="cpu", feedback=store, access=access)

    return make


def drawing(content: bytes) -> dict[str, Any]:
    data = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return {"kind": "drawing", "name": "drawing.png", "size": len(content), "data": data}


def say(service: Service, value: object, pad: object) -> dict[str, Any]:
    return keep(service, Receipts(), value, pad)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


# ---- Below an answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("said", [3, 8, None])
def test_what_a_visitor_says_is_kept_with_what_was_read(
    make_service: Callable[..., Service], digit_png: Callable[..., Path], said: int | None
):
    service = make_service()
    content = digit_png(3).read_bytes()
    read = service.predictor.predict(content)

    answer = say(service, {"said": said}, drawing(content))

    [kept] = service.feedback.stream()
    assert answer["kept"]
    assert {3: "as a 3", 8: "as an 8", None: "as not a digit"}[said] in answer["text"]
    assert (kept.correct, kept.digit, kept.verdict) == (said, read.digit, read.verdict)
    assert kept.confidence == pytest.approx(read.confidence)
    assert kept.model_version == service.predictor.checkpoint.version
    assert np.array_equal(kept.seen, np.rint(read.image * 255))


def test_two_clicks_keep_one_correction(
    make_service: Callable[..., Service], digit_png: Callable[..., Path]
):
    service = make_service()
    pad = drawing(digit_png(3).read_bytes())

    texts = [say(service, {"said": 5}, pad)["text"] for _ in range(2)]

    assert service.feedback.count() == 1
    assert "known already" in texts[1]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (None, None),
        ({}, "'nothing' is not a digit"),
        ({"said": 10}, "10 is not a digit"),
        ({"said": "4"}, "'4' is not a digit"),
        ({"said": True}, "True is not a digit"),
        ("4; DROP TABLE pictures", "is not a digit"),
    ],
)
def test_what_is_no_correction_is_not_stored(
    make_service: Callable[..., Service],
    digit_png: Callable[..., Path],
    value: object,
    hint: str | None,
):
    service = make_service()
    pad = drawing(digit_png(3).read_bytes()) if hint else None

    answer = say(service, value, pad)

    assert not answer["kept"]
    assert (hint or "nothing on the pad") in answer["text"]
    assert service.feedback.count() == 0


@pytest.mark.parametrize(
    ("content", "hint"),
    [(b"Dear Sir", "not a picture"), (b"\x89PNG\r\n\x1a\n", "not a picture"), (None, "blank")],
)
def test_what_cannot_be_read_is_told_and_not_stored(
    make_service: Callable[..., Service], content: bytes | None, hint: str
):
    service = make_service()
    if content is None:
        buffer = io.BytesIO()
        Image.new("L", (50, 50), 255).save(buffer, "PNG")
        content = buffer.getvalue()

    answer = say(service, {"said": 4}, drawing(content))

    assert answer["text"].startswith("Not stored: ")
    assert hint in answer["text"]
    assert service.feedback.count() == 0


def test_a_test_picture_is_never_learned_from(make_service: Callable[..., Service]):
    """With MNIST's test pictures among the corrections, its accuracy would be a lie."""
    service = make_service()
    pixels = np.full((28, 28), 255, np.uint8)
    pixels[4:24, 13:16] = 0

    answer = say(service, {"said": 1}, make_sample(pixels, 1, "MNIST test picture 5"))

    assert not answer["kept"]
    assert "must not learn" in answer["text"]
    assert service.feedback.count() == 0


def test_a_full_disk_is_told_to_the_visitor_and_the_store_stays_whole(
    make_service: Callable[..., Service], digit_png: Callable[..., Path]
):
    service = make_service(max_bytes=60_000)
    pictures = [digit_png(digit, number=n, size=140) for digit in range(10) for n in range(4)]

    answers = [say(service, {"said": 4}, drawing(path.read_bytes())) for path in pictures]

    refused = [answer["text"] for answer in answers if not answer["kept"]]
    assert refused
    assert all("feedback.sqlite" in text and "full" in text for text in refused)
    assert service.feedback.count() == len(answers) - len(refused) > 0


def test_strangers_are_told_of_a_full_disk_without_the_path_of_the_server(
    make_service: Callable[..., Service],
    digit_png: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
):
    service = make_service(LOCKED, max_bytes=4096)

    answer = say(service, {"said": 4}, drawing(digit_png(3).read_bytes()))

    assert answer == {
        "kept": False,
        "text": "Not stored: the server has a problem with its disk; try again later.",
    }
    assert "feedback.sqlite" in caplog.text


def test_strangers_are_not_told_about_the_disk_of_the_server(make_service: Callable[..., Service]):
    at_home, on_a_network = make_service(LOOPBACK), make_service(LOCKED)

    assert str(at_home.feedback.path) in describe_place(at_home)
    assert "feedback.sqlite" not in describe_place(on_a_network)


# ---- Taking it back ------------------------------------------------------------------------------


def test_what_was_said_is_taken_back_with_its_picture(
    make_service: Callable[..., Service], digit_png: Callable[..., Path]
):
    """The button "Change" only opened the row again, and what was said stayed."""
    service, receipts = make_service(), Receipts()
    pad = drawing(digit_png(3).read_bytes())
    answer = keep(service, receipts, {"said": 5}, pad)
    asked = {"id": answer["id"], "receipts": [answer["receipt"]]}

    taken, again = (take_back(service, receipts, asked) for _ in range(2))

    assert not taken["kept"]
    assert "not kept any more" in taken["text"]
    assert "stays" in again["text"]  # a receipt is good once
    assert service.feedback.count() == 0
    assert service.feedback.history(answer["id"]) == []


def test_of_all_that_one_visitor_said_about_a_picture_nothing_is_left(
    make_service: Callable[..., Service], digit_png: Callable[..., Path]
):
    service, receipts = make_service(), Receipts()
    pad = drawing(digit_png(3).read_bytes())
    answers = [keep(service, receipts, {"said": said}, pad) for said in (5, 6)]

    take_back(
        service,
        receipts,
        {"id": answers[0]["id"], "receipts": [answer["receipt"] for answer in answers]},
    )

    assert service.feedback.count() == 0


def test_what_others_said_about_the_same_picture_stays(
    make_service: Callable[..., Service], digit_png: Callable[..., Path]
):
    service, receipts = make_service(), Receipts()
    pad = drawing(digit_png(3).read_bytes())
    keep(service, receipts, {"said": 3}, pad)
    answer = keep(service, receipts, {"said": 5}, pad)

    take_back(service, receipts, {"id": answer["id"], "receipts": [answer["receipt"]]})

    assert [each.correct for each in service.feedback.stream()] == [3]


@pytest.mark.parametrize("number", [1, "1", None, -1, [1], {"id": 1}])
@pytest.mark.parametrize("receipt", ["own", "guessed", None, 7, [], {}])
def test_nobody_takes_back_what_they_have_not_said(
    make_service: Callable[..., Service],
    digit_png: Callable[..., Path],
    number: object,
    receipt: object,
):
    service, receipts = make_service(), Receipts()
    others = add(service.feedback, 1, 7)
    answer = keep(service, receipts, {"said": 5}, drawing(digit_png(3).read_bytes()))
    held = answer["receipt"] if receipt == "own" else receipt

    for asked in ({"id": number, "receipts": [held]}, {"id": number, "receipts": held}, number):
        refused = take_back(service, receipts, asked)

    assert others.id == 1
    assert not refused["kept"]
    assert "stays" in refused["text"]
    assert service.feedback.count() == 2


def test_to_repeat_what_is_known_gives_no_right_to_take_it_back(
    make_service: Callable[..., Service], digit_png: Callable[..., Path]
):
    service, receipts = make_service(), Receipts()
    pad = drawing(digit_png(3).read_bytes())
    keep(service, receipts, {"said": 5}, pad)

    answer = keep(service, receipts, {"said": 5}, pad)

    assert answer["receipt"] is None
    assert service.feedback.count() == 1


def test_a_store_that_fails_keeps_what_was_to_be_taken_back_and_says_so(
    make_service: Callable[..., Service],
    digit_png: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
):
    service, receipts = make_service(LOCKED), Receipts()
    answer = keep(service, receipts, {"said": 5}, drawing(digit_png(3).read_bytes()))
    service.feedback.path.write_bytes(b"no database")

    failed = take_back(service, receipts, {"id": answer["id"], "receipts": [answer["receipt"]]})

    assert failed["kept"]
    assert "Not taken back: the server has a problem" in failed["text"]
    assert failed["id"] == answer["id"]
    assert receipts.find([answer["receipt"]], answer["id"])  # to be tried again
    assert "feedback.sqlite" in caplog.text


def test_of_receipts_only_so_many_are_remembered():
    receipts = Receipts(most=2)

    given = [receipts.give((picture, 0)) for picture in range(3)]

    assert [bool(receipts.find(given, picture)) for picture in range(3)] == [False, True, True]


# ---- The gallery --------------------------------------------------------------------------------


def test_the_gallery_shows_pictures_counts_and_what_was_read(make_service: Callable[..., Service]):
    service = make_service()
    add(service.feedback, 1, 7, digit=1, confidence=0.75)
    add(service.feedback, 2, None, digit=3, confidence=0.5)

    shown = browse(service, None, None)

    text = text_of(shown["html"])
    assert "All 2 0 0 1 0 2 0 3 0 4 0 5 0 6 0 7 1 8 0 9 0 no digit 1" in text
    assert "no digit read as a 3, 50.0 %" in text
    assert "7 read as a 1, 75.0 %" in text
    assert "best 0123456789ab" in text
    assert shown["html"].count('<img src="data:image/png;base64,') == 2
    assert (shown["digit"], shown["page"]) == ("all", 1)


def test_an_empty_gallery_says_how_to_fill_it(make_service: Callable[..., Service]):
    shown = browse(make_service(), {}, None)

    assert "There are no corrections yet" in shown["html"]


def test_the_gallery_turns_pages_and_stops_at_the_last(make_service: Callable[..., Service]):
    service = make_service()
    for number in range(1, PAGE_SIZE + 3):
        add(service.feedback, number, number % 10)

    first = browse(service, {"page": 1}, None)
    beyond = browse(service, {"page": 99}, None)

    assert first["html"].count('<li class="card') == PAGE_SIZE
    assert beyond["html"].count('<li class="card') == 2
    assert beyond["page"] == 2
    assert "Page 2 of 2" in beyond["html"]


def test_a_digit_is_chosen_and_a_picture_deleted(make_service: Callable[..., Service]):
    service = make_service()
    first, second = add(service.feedback, 1, 7), add(service.feedback, 2, 4)
    add(service.feedback, 3, 7)

    shown = browse(service, {"digit": 7, "page": 1, "delete": first.id}, None)

    assert shown["html"].count('<li class="card') == 1
    assert service.feedback.history(first.id) == []
    assert service.feedback.history(second.id) != []
    assert shown["digit"] == 7


@pytest.mark.parametrize(
    "value",
    [
        {"digit": 12},
        {"digit": "x' OR 1"},
        {"page": 0},
        {"page": "2"},
        {"delete": -1},
        {"delete": "1"},
    ],
)
def test_a_wish_that_makes_no_sense_changes_nothing(
    make_service: Callable[..., Service], value: dict[str, Any]
):
    service = make_service()
    add(service.feedback, 1, 7)

    shown = browse(service, value, None)

    assert "is not a" in shown["html"]
    assert "<li" not in shown["html"]
    assert service.feedback.count() == 1


def test_what_is_in_the_store_cannot_put_code_into_the_page(make_service: Callable[..., Service]):
    service = make_service()
    evil = "<script>alert(1)</script>"
    pixels = np.zeros((30, 30), np.uint8)
    said = add(service.feedback, 1, 7)
    service.feedback.add(pixels, said_of(said.seen), 3, model=evil, model_version=evil)

    assert "<script" not in browse(service, {}, None)["html"]


def said_of(image: np.ndarray) -> Any:
    from tests.test_feedback import Said

    return Said(image=image)


# ---- Who may look -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "token", "may"),
    [
        (LOOPBACK, None, True),
        (Access(token=TOKEN), None, False),
        (Access(token=TOKEN), TOKEN, True),
        (LOCKED, None, False),
        (LOCKED, "wrong", False),
        (LOCKED, {"a": 1}, False),
        (LOCKED, TOKEN, True),
        (OFF, None, False),
        (OFF, TOKEN, False),
    ],
)
def test_what_others_drew_is_shown_and_deleted_only_with_the_token(
    make_service: Callable[..., Service], access: Access, token: object, may: bool
):
    service = make_service(access)
    picture = add(service.feedback, 1, 7)

    shown = browse(service, {"delete": None}, token)
    browse(service, {"delete": picture.id}, token)

    assert ("<li" in shown["html"]) is may
    assert ("administrators only" in shown["html"]) is not may
    assert service.feedback.count() == (0 if may else 1)


@pytest.mark.parametrize(("access", "token"), [(LOCKED, None), (LOCKED, "wrong"), (OFF, TOKEN)])
def test_an_export_takes_the_token_too(
    make_service: Callable[..., Service], access: Access, token: object
):
    service = make_service(access)
    add(service.feedback, 1, 7)

    with pytest.raises(gr.Error, match="administrators only"):
        next(export(service, token))


@pytest.mark.parametrize("access", [LOCKED, OFF])
def test_whoever_may_not_look_may_still_correct(
    make_service: Callable[..., Service], digit_png: Callable[..., Path], access: Access
):
    service = make_service(access)

    answer = say(service, {"said": 4}, drawing(digit_png(3).read_bytes()))

    assert answer["kept"]


def test_an_export_is_a_zip_whose_file_is_gone_when_it_has_been_handed_over(
    make_service: Callable[..., Service],
):
    service = make_service(LOCKED)
    add(service.feedback, 1, 7)

    made = export(service, TOKEN)
    path = Path(next(made))
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    list(made)

    assert [name.partition("/")[0] for name in names] == ["7", "corrections.csv"]
    assert not path.exists()


def test_an_export_of_nothing_is_told(make_service: Callable[..., Service]):
    with pytest.raises(gr.Error, match="no corrections to export"):
        next(export(make_service(), None))


def test_gradios_own_door_takes_the_token_too(make_service: Callable[..., Service]):
    service = make_service(LOCKED)
    picture = add(service.feedback, 1, 7)
    with gr.Blocks() as page:
        build_feedback_tab(service)
    number = next(i for i, each in page.fns.items() if getattr(each.fn, "func", None) is browse)
    client = TestClient(gr.mount_gradio_app(FastAPI(), page, path="/"))
    left = []

    for token in (None, "wrong", TOKEN):
        wish = {"fn_index": number, "data": [{"delete": picture.id}, token], "session_hash": "a"}
        answer = client.post("/gradio_api/run/predict", json=wish)
        assert answer.status_code == 200, answer.text
        left.append(service.feedback.count())

    assert left == [1, 1, 0]


# ---- The layout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("access", [LOOPBACK, LOCKED, OFF])
def test_no_handler_is_offered_to_other_programs(
    make_service: Callable[..., Service], access: Access
):
    service = make_service(access)
    with gr.Blocks() as page:
        build_feedback_row(service, gr.HTML())
        build_feedback_tab(service)

    info = page.get_api_info()

    assert (info["named_endpoints"], info["unnamed_endpoints"]) == ({}, {})
    assert not service.feedback.path.exists()
