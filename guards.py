"""What every request has to pass before anything looks at it, the page's own requests included.

    request -> host? -> from another site? -> too many? -> too large? -> too slow? -> application
                                                  answer <- security headers <-

A web page that somebody happens to visit can send requests to a server on their own machine. Two
checks keep it out: the name in `Host` has to be one of ours (a page may let its own name point to
127.0.0.1), and whoever changes or uploads something has to come from here (browsers say so in
`Sec-Fetch-Site` and `Origin`, and no page can lie in them).

    >>> rules = Rules.for_host("127.0.0.1")
    >>> app.add_middleware(Guard, rules=rules, body_limits={"/predict": rules.body_bytes})
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from access import group_of, is_loopback
from errors import SettingsError
from refusal import OUR_MISTAKE, RETRY_AFTER_S, Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 2**20  # a picture of 20 MB as base64 in JSON has 27
MAX_SMALL_BYTES = 64 * 2**10  # a body that can hold no picture
MAX_UPLOAD_BYTES = 256 * 2**20  # an archive of pictures, given to the page
MAX_BYTES_HELD = 2**30  # of all bodies together
BODY_TIMEOUT_S = 60  # for a whole body; 27 MB at 4 Mbit/s
# Of JSON: commas and opening brackets, of which base64 has none. Python makes an object of each
# value: 31 MB of empty lists took half a minute and 1.5 GB. 64 pictures have 130; what the page
# sends has some dozens.
MAX_JSON_SIGNS = 4096
JSON_SIGNS = (b",", b"[", b"{")
UNLIMITED = ("/health", "/ready", "/metrics")  # asked by machines that watch us
PASSAGE = "digits.passage"  # where the scope of a request tells how many bytes it has had
SAFE = {"GET", "HEAD", "OPTIONS"}

# Names in other scripts come from browsers as "xn--..."; containers have underscores in theirs.
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)


@dataclass(frozen=True)
class Rules:
    """What passes the guard.

    Attributes
    ----------
    hosts : frozenset of str or None
        Names by which the server may be called, without ports; None allows all.
    origins : frozenset of str
        Other sites whose pages may use the API, such as "https://school.example".
    clients_are_local : bool
        Refuse requests that a proxy forwards for somebody on another machine: whoever started the
        server for this machine only has not agreed to that.
    rate : str
        Requests of one client, such as "10/second" or "600/minute"; empty sets no limit.
    frames : bool
        Whether pages of other sites may show ours in a frame.
    body_bytes : int
        The most that a request which brings pictures may hold.
    small_bytes : int
        The most that any other request may hold.
    upload_bytes : int
        The most that an upload to the page may hold.
    held_bytes : int
        The most that all bodies may hold together at one time.
    body_timeout_s : float
        How long a whole body may take to arrive, in seconds.
    """

    hosts: frozenset[str] | None = None
    origins: frozenset[str] = frozenset()
    clients_are_local: bool = False
    rate: str = ""
    frames: bool = False
    body_bytes: int = MAX_BODY_BYTES
    small_bytes: int = MAX_SMALL_BYTES
    upload_bytes: int = MAX_UPLOAD_BYTES
    held_bytes: int = MAX_BYTES_HELD
    body_timeout_s: float = BODY_TIMEOUT_S

    @classmethod
    def for_host(
        cls,
        host: str,
        *,
        names: Iterable[str] = (),
        origins: Iterable[str] = (),
        rate: str = "",
        frames: bool = False,
    ) -> Rules:
        """Choose the rules for a server that listens on `host`.

        Parameters
        ----------
        host : str
            An address or name.
        names : iterable of str
            Further names by which it is called, as behind a proxy; once there are any, no other
            names are allowed.
        origins, rate, frames
            See `Rules`.

        Raises
        ------
        SettingsError
            If a name, an origin or a rate cannot be understood.
        """
        further = frozenset(check_host(name) for name in names if name.strip())
        local = is_loopback(host) and all(is_loopback(name) for name in further)
        listed = is_loopback(host) or bool(further)
        if rate:
            parse_rate(rate)
        return cls(
            hosts=further | {"localhost", "127.0.0.1", "::1", host.lower()} if listed else None,
            origins=frozenset(check_origin(origin) for origin in origins if origin.strip()),
            clients_are_local=local,
            rate=rate,
            frames=frames,
        )


def check_host(text: str) -> str:
    """Bring a name of this server to the form in which it is compared; see `name_of_host`.

    Raises
    ------
    SettingsError
        If it is not a name or an address alone, and could never be the one that was asked for.
    """
    name = text.strip().lower().rstrip(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name.strip("[]")))
    if not _HOST_NAME.fullmatch(name):
        raise SettingsError(
            f"host {text!r}: give --allow-host (or DIGITS_ALLOW_HOSTS) a name or address alone, "
            "without http:// and port, like digits.example"
        )
    return name


def check_origin(text: str) -> str:
    """Bring an origin to the form in which browsers send it.

    Raises
    ------
    SettingsError
        If it is not scheme and host, or stands for every site.
    """
    parts = split_origin(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
        raise SettingsError(
            f"origin {text!r}: give --allow-origin (or DIGITS_ALLOW_ORIGINS) the scheme and host "
            "of one site, like https://school.example"
        )
    return f"{parts.scheme}://{parts.netloc}"


def split_origin(text: str) -> SplitResult:
    """Take scheme and host out of an origin, in lower case; one that is no address has neither."""
    try:
        return urlsplit(text.strip().lower())
    except ValueError:  # one bracket of an address, or a sign that some would read as "/" or ":"
        return urlsplit("")


def parse_rate(text: str) -> RateLimitItem:
    """Read "10/second", "600/minute" and the like.

    Raises
    ------
    SettingsError
        If it is something else, has a 0, or is more than one rate.
    """
    try:
        rates = parse_many(text)
    except ValueError:
        rates = []
    # The library takes a 0 before the unit for a 1, and we would keep the first rate of several.
    if len(rates) != 1 or any(int(number) == 0 for number in re.findall("[0-9]+", text)):
        raise SettingsError(
            f"rate {text!r}: give --rate (or DIGITS_RATE) one rate of at least 1, like 10/second "
            "or 600/minute; leave it out for no limit"
        )
    return rates[0]


class Guard:
    """Refuses what must not pass. An ASGI middleware.

    Parameters
    ----------
    app : ASGI application
    rules : Rules
    body_limits : mapping of str to int, optional
        How many bytes a body may have, by the path that it is sent to; a path that ends with "/"
        stands for all that begin with it. Elsewhere `rules.small_bytes` is the limit. Whoever owns
        a route puts it in, which may be later than this.

    Attributes
    ----------
    headers : list of (bytes, bytes)
        That every answer gets.
    """

    def __init__(
        self, app: ASGIApp, rules: Rules, body_limits: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self.rules = rules
        self._body_limits = {} if body_limits is None else body_limits  # not a copy: it may grow
        self._held = 0
        self._rate = parse_rate(rules.rate) if rules.rate else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage()) if rules.rate else None
        self.headers = _security_headers(rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await self._guard(scope, receive, send)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = _Passage(self, scope, receive, send)
        try:
            passage.refusal = self._judge(scope)  # a mistake in here is answered as any other
            if passage.refusal:
                await passage.refuse()
            else:
                await self.app(scope, passage.receive, passage.send)
        except asyncio.CancelledError:
            if not passage.refusal:
                raise
            passage.take_back_cancel()
            await passage.refuse()
        except Exception:
            if passage.is_gone:  # a body without an end, and nobody to tell
                log.info("%s %s: the client went away", scope["method"], scope["path"])
                return
            if passage.started:
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            passage.refusal = OUR_MISTAKE
            await passage.refuse()
        finally:
            passage.end()

    def _judge(self, scope: Scope) -> Refusal | None:
        """Find a reason to refuse a request, by its headers alone."""
        headers: dict[bytes, bytes] = {}
        hosts = 0
        for name, value in scope["headers"]:
            headers[name] = value
            hosts += name == b"host"
        if hosts > 1:
            return Refusal(400, "bad_request", "Host: it was sent more than once; send it once")
        return (
            self._judge_host(headers, scope)
            or self._judge_origin(headers, scope)
            or self._judge_rate(scope)
            or self._judge_length(headers, scope)
        )

    def _judge_host(self, headers: dict[bytes, bytes], scope: Scope) -> Refusal | None:
        allowed = self.rules.hosts
        if allowed is None:
            return None
        name = name_of_host(headers.get(b"host", b"").decode("latin-1"))
        if name not in allowed and not (name.endswith(".localhost") and "localhost" in allowed):
            return Refusal(
                403,
                "wrong_host",
                f"Host: {name[:80]!r} is not a name of this server; start it with --allow-host "
                "and that name if it is",
            )
        client = scope.get("client")
        if self.rules.clients_are_local and client and _is_remote(client[0]):
            return Refusal(
                403,
                "forwarded",
                "X-Forwarded-For: this server was started for its own machine only; to serve "
                "others through a proxy, start it with --allow-host and its public name",
            )
        return None

    def _judge_origin(self, headers: dict[bytes, bytes], scope: Scope) -> Refusal | None:
        if scope["method"] in SAFE:
            return None
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin in self.rules.origins:
            return None
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1").lower()
        if site:
            foreign = site not in {"same-origin", "none"}
        else:  # an old browser, or a page that came without encryption
            host = headers.get(b"host", b"").decode("latin-1").lower()
            foreign = bool(origin) and split_origin(origin).netloc != host
        if not foreign:
            return None
        return Refusal(
            403,
            "cross_site",
            f"Origin: pages of {origin[:80] or 'other sites'} may not use this server; "
            "start it with --allow-origin and that site if they may",
        )

    def _judge_rate(self, scope: Scope) -> Refusal | None:
        if self._limiter is None or self._rate is None or scope["path"] in UNLIMITED:
            return None
        client = scope.get("client") or ("",)
        if self._limiter.hit(self._rate, group_of(client[0])):
            return None
        wait = max(1, round(self._rate.get_expiry() / self._rate.amount))
        return Refusal(
            429,
            "too_many_requests",
            f"at most {self._rate} are answered for one client; wait a little",
            wait,
        )

    def _judge_length(self, headers: dict[bytes, bytes], scope: Scope) -> Refusal | None:
        length = headers.get(b"content-length", b"0")
        limit = self.limit_of(scope["path"])
        # int() takes underscores, signs and digits of other scripts.
        if not (length.isdigit() and len(length) < 20):
            return Refusal(400, "bad_request", "Content-Length: it is not a number")
        if int(length) > limit:
            return too_large(limit)
        return self.judge_memory(int(length))

    def limit_of(self, path: str) -> int:
        """Tell how many bytes a body may have."""
        if path in self._body_limits:
            return self._body_limits[path]
        for begin, limit in self._body_limits.items():
            if begin.endswith("/") and path.startswith(begin):
                return limit
        return self.rules.small_bytes

    def judge_memory(self, more: int) -> Refusal | None:
        """Refuse a body that would be too much together with all others."""
        if self._held + more <= self.rules.held_bytes:
            return None
        return Refusal(
            503,
            "overloaded",
            "too much is being sent to this server at once; try again in a moment",
            RETRY_AFTER_S,
        )

    def hold(self, count: int) -> None:
        """Note bytes that are in memory, or (below zero) that no longer are."""
        self._held += count


def size_of(scope: Scope) -> int:
    """Tell how many bytes of a request's body have come so far; 0 if there is no guard."""
    passage = scope.get(PASSAGE)
    return passage.count if passage else 0


def too_large(limit: int) -> Refusal:
    """Refuse a body for its size."""
    if limit < 2**20:
        most, advice = f"{limit / 2**10:g} kB", "it holds no picture"
    else:
        most, advice = f"{limit / 2**20:g} MB", "send a smaller picture, or fewer at once"
    return Refusal(413, "too_large", f"body: at most {most} are taken here; {advice}")


TOO_MANY_VALUES = Refusal(
    413,
    "too_large",
    f"body: its JSON has too many values, more than {MAX_JSON_SIGNS:,} commas and brackets; "
    "send fewer at once",
)


def may_be_json(scope: Scope) -> bool:
    """Whether somebody might read a body as JSON, by its content type."""
    # Of several, the first is the one that counts for FastAPI.
    values = (value for name, value in scope["headers"] if name == b"content-type")
    kind = next(values, b"").partition(b";")[0].strip().lower()
    is_other = kind.startswith((b"multipart/", b"image/")) or kind == b"application/octet-stream"
    return kind.endswith(b"+json") or not is_other


class _Passage:
    """One request on its way in, and its answer on the way out.

    Attributes
    ----------
    count : int
        Bytes of the body so far.
    """

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.refusal: Refusal | None = None
        self._guard, self._scope = guard, scope
        self._receive, self._send = receive, send
        self._limit = guard.limit_of(scope["path"])
        self.count = self._signs = 0
        scope[PASSAGE] = self
        self._may_be_json = may_be_json(scope)
        self.started = self.is_gone = self._refused = self._complete = False
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.current_task()

    async def receive(self) -> Message:
        """Hand on a part of the body, counted and against the clock."""
        if self._complete:  # what follows is only the news that the client has gone
            return await self._receive()
        if self._timer is None:
            timeout = self._guard.rules.body_timeout_s
            self._timer = asyncio.get_running_loop().call_later(timeout, self._expire)
        message = await self._receive()
        if message["type"] == "http.request":
            self._check(message.get("body", b""))
        else:
            self.is_gone = True
        if not message.get("more_body"):
            self._complete = True
            self._timer.cancel()
        return message

    def _check(self, part: bytes) -> None:
        """Stop the application in the middle of a body that is too much."""
        from starlette.exceptions import HTTPException

        self.count += len(part)
        self._guard.hold(len(part))
        if self._may_be_json:
            self._signs += sum(part.count(sign) for sign in JSON_SIGNS)
        if self.count > self._limit:
            self.refusal = too_large(self._limit)
        elif self._signs > MAX_JSON_SIGNS:
            self.refusal = TOO_MANY_VALUES
        else:
            self.refusal = self._guard.judge_memory(0)
        if self.refusal:
            # Of this kind of error every layer knows that it is an answer. What they make of it
            # does not matter: `send` puts ours in its place.
            raise HTTPException(self.refusal.status, self.refusal.detail)

    def _expire(self) -> None:
        """Take a request off its slow client."""
        seconds = self._guard.rules.body_timeout_s
        self.refusal = Refusal(408, "too_slow", f"body: it did not arrive within {seconds:g} s")
        if self._task:
            self._task.cancel()

    def take_back_cancel(self) -> None:
        """Tell asyncio that the cancelling was ours and is done with."""
        if self._task and sys.version_info >= (3, 11):
            self._task.uncancel()

    async def send(self, message: Message) -> None:
        """Hand on a part of the answer, with our headers; or put a refusal in its place."""
        if self.refusal:
            await self.refuse()
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.started = True
            given = {name.lower() for name, _ in message.get("headers", ())}
            message["headers"] = [
                *message.get("headers", ()),
                *(header for header in self._guard.headers if header[0] not in given),
            ]
        await self._send(message)

    async def refuse(self) -> None:
        """Answer in place of the application, unless it has begun to."""
        if self.started or self.refusal is None:
            return
        self.started = self._refused = True
        for message in self.refusal.to_messages(self._guard.headers):
            await self._send(message)

    def end(self) -> None:
        """Forget the body."""
        self._guard.hold(-self.count)
        if self._timer:
            self._timer.cancel()


def _security_headers(rules: Rules) -> list[tuple[bytes, bytes]]:
    """List the headers that every answer carries."""
    policy = _POLICY if rules.frames else f"{_POLICY}; frame-ancestors 'self'"
    headers = {
        "content-security-policy": policy,
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
    if not rules.origins:
        headers["cross-origin-resource-policy"] = "same-origin"
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def name_of_host(host: str) -> str:
    """Take the name out of a Host header: without port, brackets and final dot, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].rstrip(".") if ":" in host else host.rstrip(".")


@lru_cache(maxsize=1024)
def _is_remote(client: str) -> bool:
    """Whether an address is surely that of another machine."""
    try:
        ipaddress.ip_address(client)
    except ValueError:  # a socket of this machine, or the name of a test client
        return False
    return not is_loopback(client)
