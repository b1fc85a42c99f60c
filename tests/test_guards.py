"""What passes the guard and what does not, for every route behind it, the page's own included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from api_models import MAX_PICTURES
from errors import SettingsError
from guards import (
    MAX_JSON_SIGNS,
    Guard,
    Rules,
    check_host,
    check_origin,
    name_of_host,
    parse_rate,
)

LOCAL = Rules.for_host("127.0.0.1")


def build(rules: Rules, body_limits: dict[str, int] | None = None) -> FastAPI:
    """Make an application that says how many bytes it was sent, or fails if asked to."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def echo(request: Request, path: str) -> dict[str, int]:
        if path == "fail":
            raise ZeroDivisionError("a secret detail")
        return {"bytes": len(await request.body())}

    app.add_middleware(Guard, rules=rules, body_limits=body_limits)
    return app


def client_of(rules: Rules, **options: Any) -> TestClient:
    return TestClient(build(rules), base_url="http://127.0.0.1:7860", **options)


@pytest.fixture(scope="module")
def local() -> Iterator[TestClient]:
    with client_of(LOCAL) as client:
        yield client


# --- which name ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:7860", True),
        ("127.0.0.1", True),
        ("localhost:7860", True),
        ("LOCALHOST", True),
        ("page.localhost:7860", True),
        ("[::1]:7860", True),
        ("evil.example", False),
        ("evil.example:7860", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:7860", False),
        ("192.168.0.7:7860", False),
        ("user@127.0.0.1", False),
        ("", False),
    ],
)
def test_a_web_page_cannot_reach_us_under_a_name_of_its_own(
    local: TestClient, host: str, allowed: bool
) -> None:
    """DNS rebinding: a page lets its own name point to 127.0.0.1, and is then same-origin."""
    answer = local.get("/x", headers={"host": host})

    assert answer.status_code == (200 if allowed else 403)
    if not allowed:
        assert answer.json()["error"] == "wrong_host"
        assert "--allow-host" in answer.json()["detail"]


def test_two_names_at_once_are_refused(local: TestClient) -> None:
    answer = local.get("/x", headers=[("host", "127.0.0.1"), ("host", "evil.example")])

    assert answer.status_code == 400
    assert "Host" in answer.json()["detail"]


def test_on_a_network_every_name_is_allowed_until_some_are_listed() -> None:
    open_to_all = client_of(Rules.for_host("0.0.0.0"))
    listed = client_of(Rules.for_host("0.0.0.0", names=["Digits.example"]))

    assert open_to_all.get("/x", headers={"host": "anything.example"}).status_code == 200
    assert listed.get("/x", headers={"host": "digits.example:80"}).status_code == 200
    assert listed.get("/x", headers={"host": "anything.example"}).status_code == 403


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (" Digits.Example. ", "digits.example:8000"),
        ("digits_page", "digits_page"),
        ("192.168.0.7", "192.168.0.7:80"),
        ("[2001:DB8:0::1]", "[2001:db8::1]:80"),
        ("2001:db8::1", "[2001:db8::1]"),
    ],
)
def test_a_listed_name_may_be_written_as_people_do(given: str, sent: str) -> None:
    client = client_of(Rules.for_host("127.0.0.1", names=[given]))

    assert client.get("/x", headers={"host": sent}).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        *("http://digits.example", "digits.example/page", "digits.example:443", "[::1]:80"),
        *("*", "*.example", "digits..example", ".example", "a b", "bücher.example"),
    ],
)
def test_a_name_by_which_no_server_is_called_is_refused_at_the_start(name: str) -> None:
    """They were taken without a word, and every request by the name that was meant was refused."""
    with pytest.raises(SettingsError, match=r"like digits\.example"):
        check_host(name)


def test_a_server_for_this_machine_is_not_opened_to_others_by_a_proxy() -> None:
    """A proxy on the same machine comes from 127.0.0.1, and would be taken for its owner."""
    forwarded = {"client": ("203.0.113.9", 4711)}

    closed = client_of(LOCAL, **forwarded).get("/x")
    named = client_of(Rules.for_host("127.0.0.1", names=["digits.example"]), **forwarded).get("/x")

    assert (closed.status_code, closed.json()["error"]) == (403, "forwarded")
    assert named.status_code == 200


# --- from where ---------------------------------------------------------------------------------

HERE = "http://127.0.0.1:7860"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"origin": HERE}, True),
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:3000"}, False),
        ({"origin": "null"}, False),
        ({"origin": HERE, "sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "nonsense"}, False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_page_of_another_site_cannot_change_or_send_anything(
    local: TestClient, method: str, headers: dict[str, str], allowed: bool
) -> None:
    answer = local.request(method, "/x", headers=headers)

    assert answer.status_code == (200 if allowed else 403)
    assert allowed or answer.json()["error"] == "cross_site"


def test_a_link_on_another_site_leads_here(local: TestClient) -> None:
    headers = {"origin": "http://other.example", "sec-fetch-site": "cross-site"}

    assert local.get("/x", headers=headers).status_code == 200


def test_a_listed_site_may_use_the_api_and_its_neighbour_may_not() -> None:
    client = client_of(Rules.for_host("127.0.0.1", origins=["https://School.example/"]))

    good = client.post(
        "/x", headers={"origin": "https://school.example", "sec-fetch-site": "cross-site"}
    )
    bad = client.post(
        "/x", headers={"origin": "https://school.example.evil", "sec-fetch-site": "cross-site"}
    )

    assert (good.status_code, bad.status_code) == (200, 403)


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "school.example", "ftp://a.example", "https://a.example/path", "https:"),
        *("http://[::1", "http://[", "http://a\u2100b"),
    ],
)
def test_an_origin_that_is_no_site_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(SettingsError, match="of one site"):
        check_origin(origin)


# --- how much -----------------------------------------------------------------------------------

SMALL = Rules(small_bytes=500, held_bytes=8000)
LIMITS = {"/pictures": 1000, "/events/": 1000, "/events/large": 5000}


def in_parts(size: int) -> Iterator[bytes]:
    """Send without saying beforehand how much it will be."""
    for _ in range(0, size, 100):
        yield b"x" * 100


@pytest.mark.parametrize("send", [lambda size: b"x" * size, in_parts], ids=["told", "untold"])
@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/pictures", 1000, 200),
        ("/pictures", 1100, 413),
        ("/pictures", 50_000, 413),
        ("/pictures/of", 600, 413),
        ("/picture", 600, 413),
        ("/events/join", 1000, 200),
        ("/events/join", 1100, 413),
        ("/events/large", 5000, 200),
        ("/events/large", 5100, 413),
        ("/events", 600, 413),
        ("/nothing", 500, 200),
        ("/nothing", 600, 413),
    ],
)
def test_a_body_beyond_its_limit_is_refused_whether_it_says_its_size_or_not(
    send: Callable[[int], Any], path: str, size: int, status: int
) -> None:
    client = TestClient(build(SMALL, LIMITS), base_url="http://127.0.0.1:7860")

    answer = client.post(path, content=send(size))

    assert answer.status_code == status
    if status == 413:
        assert answer.json()["error"] == "too_large"
        assert "kB are taken here" in answer.json()["detail"]
    else:
        assert answer.json() == {"bytes": size}
    assert client.post("/x", content=b"abc").json() == {"bytes": 3}


def test_a_body_that_is_told_to_be_too_large_is_refused_unread() -> None:
    length = [(b"host", b"127.0.0.1"), (b"content-length", b"1001")]

    # None of it ever comes.
    sent = run_asgi(build(SMALL, LIMITS), [], path="/pictures", headers=length)

    assert sent[0]["status"] == 413


LISTS = b"[" + b"[]," * MAX_JSON_SIGNS


@pytest.mark.parametrize("send", [lambda body: body, lambda body: iter([body[:9], body[9:]])])
@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        (["application/json"], 413),
        (["Application/JSON; charset=utf-8"], 413),
        (["application/vnd.digits+json"], 413),
        (["image/svg+json"], 413),
        ([], 413),
        (["text/plain"], 413),
        (["application/json", "image/png"], 413),  # FastAPI goes by the first
        (["image/png"], 200),
        (["application/octet-stream"], 200),
        (["multipart/form-data; boundary=x"], 200),
    ],
)
def test_json_of_very_many_values_is_refused_before_it_is_read(
    send: Callable[[bytes], Any], kinds: list[str], status: int
) -> None:
    """Empty lists, 31 MB of them, became 1.5 GB of objects; nobody else was answered meanwhile."""
    client = client_of(LOCAL)

    answer = client.post(
        "/predict", content=send(LISTS), headers=[("content-type", kind) for kind in kinds]
    )

    assert answer.status_code == status
    assert status == 200 or "too many values" in answer.json()["detail"]


def test_the_json_of_as_many_pictures_as_are_taken_at_once_passes() -> None:
    body = {"images": ["data:image/png;base64," + "QUJD" * 50_000] * MAX_PICTURES}

    limits = {"/pictures": LOCAL.body_bytes}
    client = TestClient(build(LOCAL, limits), base_url="http://127.0.0.1:7860")

    answer = client.post("/pictures", json=body)

    assert answer.status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e9", "1_0", "abc", "", "9" * 30, "٣"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    guard = Guard(build(LOCAL), LOCAL)
    scope = {"path": "/x"}

    refusal = guard._judge_length({b"content-length": length.encode()}, scope)

    assert refusal
    assert refusal.status == 400


def run_asgi(app: Any, parts: list[dict[str, Any]], **scope: Any) -> list[dict[str, Any]]:
    """Call an application as a server would; after the parts, the client says nothing more."""
    sent: list[dict[str, Any]] = []

    async def call() -> None:
        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop(0)
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        full = {
            "type": "http",
            "method": "POST",
            "path": "/x",
            "headers": [(b"host", b"127.0.0.1")],
            "query_string": b"",
            **scope,
        }
        await app(full, receive, send)

    asyncio.run(call())
    return sent


def test_a_body_that_does_not_come_to_its_end_is_given_up_in_time() -> None:
    app = build(Rules(body_timeout_s=0.05))

    sent = run_asgi(app, [{"type": "http.request", "body": b"half", "more_body": True}])

    assert sent[0]["status"] == 408
    assert b"too_slow" in sent[1]["body"]


def test_of_a_body_that_is_too_large_no_more_is_taken() -> None:
    parts = [{"type": "http.request", "body": b"x" * 600, "more_body": True} for _ in range(5)]

    sent = run_asgi(build(SMALL), parts)

    assert sent[0]["status"] == 413
    assert len(parts) == 4


def test_an_answer_may_take_longer_than_its_request() -> None:
    async def think(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    sent = run_asgi(Guard(think, Rules(body_timeout_s=0)), [{"type": "http.request"}])

    assert [message.get("status") for message in sent] == [200, None]


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    async def answer_early(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    sent = run_asgi(Guard(answer_early, Rules(body_timeout_s=0)), [])

    assert [message.get("status") for message in sent] == [200]


def test_a_client_that_goes_away_while_sending_is_no_mistake_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = build(Rules())

    sent = run_asgi(
        app,
        [
            {"type": "http.request", "body": b"half", "more_body": True},
            {"type": "http.disconnect"},
        ],
    )

    assert sent == []
    assert "Traceback" not in caplog.text
    assert TestClient(app).post("/x", content=b"abc").json() == {"bytes": 3}


def test_bodies_that_are_too_much_together_are_refused_until_there_is_room() -> None:
    client = client_of(Rules(held_bytes=1000))
    guard = Guard(build(LOCAL), Rules(held_bytes=1000))
    guard.hold(900)

    refusal = guard._judge_length({b"content-length": b"200"}, {"path": "/x"})
    guard.hold(-900)

    assert refusal
    assert (refusal.status, refusal.retry_after_s > 0) == (503, True)
    assert guard._judge_length({b"content-length": b"200"}, {"path": "/x"}) is None
    for _ in range(20):  # what was held is let go again
        assert client.post("/x", content=b"x" * 600).status_code == 200


def test_a_client_that_asks_too_often_is_told_to_wait_and_others_are_not() -> None:
    rules = Rules.for_host("0.0.0.0", rate="3/minute")
    app = build(rules)
    busy = TestClient(app, client=("203.0.113.1", 1))
    other = TestClient(app, client=("203.0.113.2", 1))

    answers = [busy.get("/x") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "3 per 1 minute" in answers[-1].json()["detail"]
    assert busy.get("/health").status_code == 200
    assert other.get("/x").status_code == 200


def test_in_ipv6_all_addresses_of_a_household_count_as_one() -> None:
    app = build(Rules.for_host("::", rate="1/minute"))

    first = TestClient(app, client=("2001:db8::1", 1)).get("/x")
    second = TestClient(app, client=("2001:db8::2", 1)).get("/x")
    stranger = TestClient(app, client=("2001:db8:1::1", 1)).get("/x")

    assert [each.status_code for each in (first, second, stranger)] == [200, 429, 200]


@pytest.mark.parametrize(
    "rate",
    [
        *("many", "10", "10/fortnight", "-1/second", "/", " "),
        *("0/minute", "00/minute", "10 per 0 minute", "1/0second", "5/second; 9/minute"),
    ],
)
def test_a_rate_that_cannot_be_understood_is_refused_at_the_start(rate: str) -> None:
    with pytest.raises(SettingsError, match="10/second"):
        parse_rate(rate)


# --- the way out ----------------------------------------------------------------------------------


def test_our_own_mistake_is_told_without_its_cause(
    local: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = local.post("/fail", content=b"the content of a picture")

    assert answer.status_code == 500
    assert answer.json()["error"] == "internal"
    assert "secret" not in answer.text
    assert "a secret detail" in caplog.text
    assert "content of a picture" not in caplog.text


class Careless(Guard):
    """Stumbles over every request."""

    def _judge(self, scope: Any) -> Any:
        raise ValueError("a secret detail")


def test_a_mistake_of_the_guard_itself_is_told_as_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = run_asgi(Careless(build(LOCAL), LOCAL), [])

    start, body = sent
    assert start["status"] == 500
    assert b"content-security-policy" in dict(start["headers"])
    assert b"internal" in body["body"]
    assert b"secret" not in body["body"]
    assert "a secret detail" in caplog.text


@pytest.mark.parametrize("path", ["/x", "/fail"])
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_every_answer_carries_the_security_headers(local: TestClient, path: str, host: str) -> None:
    headers = local.get(path, headers={"host": host}).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_frames_and_other_sites_are_let_in_only_if_told_so() -> None:
    rules = Rules.for_host("0.0.0.0", frames=True, origins=["https://school.example"])

    headers = client_of(rules).get("/x").headers

    assert "frame-ancestors" not in headers["content-security-policy"]
    assert "cross-origin-resource-policy" not in headers


def test_web_sockets_are_closed() -> None:
    sent = run_asgi(Guard(build(LOCAL), LOCAL), [{"type": "websocket.connect"}], type="websocket")

    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:80", "localhost"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("Digits.Example.", "digits.example"),
        ("", ""),
    ],
)
def test_the_name_is_taken_out_of_the_header(header: str, name: str) -> None:
    assert name_of_host(header) == name
