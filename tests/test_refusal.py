"""Whoever refuses something, it is told in one form."""

from __future__ import annotations

import json

from refusal import OUR_MISTAKE, Refusal


def test_the_body_holds_a_name_for_programs_and_a_sentence_for_people() -> None:
    refusal = Refusal(422, "invalid", "name: “é” is not a name")

    assert json.loads(refusal.to_json()) == {
        "error": "invalid",
        "detail": "name: “é” is not a name",
    }


def test_the_length_is_that_of_the_bytes() -> None:
    refusal = Refusal(422, "invalid", "name: “é” is not a name")

    headers = dict(refusal.to_headers())

    assert headers[b"content-length"] == str(len(refusal.to_json())).encode()
    assert headers[b"content-type"] == b"application/json"


def test_no_cache_keeps_it_and_only_what_passes_says_when_to_come_back() -> None:
    busy = dict(Refusal(503, "overloaded", "too much at once", 2).to_headers())
    wrong = dict(Refusal(422, "invalid", "name: it is missing").to_headers())

    assert busy[b"cache-control"] == wrong[b"cache-control"] == b"no-store"
    assert busy[b"retry-after"] == b"2"
    assert b"retry-after" not in wrong


def test_it_can_be_sent_in_place_of_an_application_with_other_headers() -> None:
    start, body = OUR_MISTAKE.to_messages([(b"connection", b"close")])

    assert (start["type"], start["status"]) == ("http.response.start", 500)
    assert (b"connection", b"close") in start["headers"]
    assert body == {"type": "http.response.body", "body": OUR_MISTAKE.to_json()}
