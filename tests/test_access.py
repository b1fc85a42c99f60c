"""Who may change something, depending on where the server listens and which token is shown."""

from __future__ import annotations

import pytest

from access import Access, is_loopback
from errors import AccessError, ChangesOffError, SettingsError

TOKEN = "correct horse battery"


@pytest.mark.parametrize(
    ("beyond_loopback", "token", "changes"),
    [
        (False, None, "open"),
        (False, TOKEN, "locked"),
        (True, TOKEN, "locked"),
        (True, None, "off"),
        (True, "", "off"),
    ],
)
def test_where_it_listens_and_the_token_decide_who_may_change_something(
    beyond_loopback: bool, token: str | None, changes: str
) -> None:
    assert Access(beyond_loopback=beyond_loopback, token=token).changes_are == changes


@pytest.mark.parametrize(
    "given",
    [None, "", "wrong", TOKEN[:-1], TOKEN + " ", TOKEN.upper(), "é", "\ud800", 7, True, [TOKEN]],
)
def test_any_token_but_the_right_one_is_refused_with_401(given: object) -> None:
    access = Access(token=TOKEN)

    with pytest.raises(AccessError, match="DIGITS_ADMIN_TOKEN") as caught:
        access.require(given)

    assert caught.value.http_status == 401
    assert TOKEN not in str(caught.value)


def test_the_right_token_is_let_in() -> None:
    Access(beyond_loopback=True, token=TOKEN).require(TOKEN)


@pytest.mark.parametrize("given", [None, "", "anything"])
def test_nobody_may_change_anything_on_a_network_without_a_token(given: str | None) -> None:
    with pytest.raises(ChangesOffError, match="set DIGITS_ADMIN_TOKEN") as caught:
        Access(beyond_loopback=True).require(given)

    assert caught.value.http_status == 403


@pytest.mark.parametrize("given", [None, "", "anything", 7])
def test_whoever_sits_at_the_machine_needs_no_token_if_none_is_set(given: object) -> None:
    Access().require(given)


def test_a_printed_access_does_not_show_the_token() -> None:
    access = Access(token=TOKEN)

    assert TOKEN not in f"{access} {access!r}"


def test_the_token_comes_from_the_environment_and_a_blank_one_is_none() -> None:
    locked = Access.from_environment("0.0.0.0", {"DIGITS_ADMIN_TOKEN": f" {TOKEN}\n"})
    blank = Access.from_environment("0.0.0.0", {"DIGITS_ADMIN_TOKEN": "  "})

    assert (locked.token, locked.beyond_loopback) == (TOKEN, True)
    assert blank.changes_are == "off"


@pytest.mark.parametrize(
    "token", ["short", "12345678901", "ein schlüssel mit umlaut", "a" * 12 + "\0"]
)
def test_a_token_that_cannot_protect_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(SettingsError, match="at least 12 characters") as caught:
        Access.from_environment("127.0.0.1", {"DIGITS_ADMIN_TOKEN": token})

    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("page.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.0.7", False),
        ("::ffff:192.168.0.7", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("2130706433", False),
    ],
)
def test_only_what_surely_is_this_machine_counts_as_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("access", "given", "trusted"),
    [
        (Access(), None, True),
        (Access(token=TOKEN), None, True),
        (Access(beyond_loopback=True), None, False),
        (Access(beyond_loopback=True), "", False),
        (Access(beyond_loopback=True, token=TOKEN), None, False),
        (Access(beyond_loopback=True, token=TOKEN), "guessed", False),
        (Access(beyond_loopback=True, token=TOKEN), TOKEN, True),
    ],
)
def test_where_files_lie_is_told_on_this_machine_and_to_whoever_has_the_token(
    access: Access, given: object, trusted: bool
) -> None:
    assert access.is_trusted(given) is trusted
