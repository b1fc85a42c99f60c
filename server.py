"""The server process: its flags, its port, its end. Knows nothing of what is served.

    flags or environment -> port -> uvicorn -> SIGTERM: answers under way are finished, then it ends

| flag             | environment          | is                                                     |
|------------------|----------------------|--------------------------------------------------------|
| `--host`         | DIGITS_HOST          | the address to listen on                               |
| `--port`         | DIGITS_PORT          | the port                                               |
| `--model`        | DIGITS_MODEL         | the model in use at first                              |
| `--allow-host`   | DIGITS_ALLOW_HOSTS   | names by which a proxy calls it, with commas between   |
| `--allow-origin` | DIGITS_ALLOW_ORIGINS | sites whose pages may use the API                      |
| `--rate`         | DIGITS_RATE          | requests of one client, such as 600/minute             |
| `--access-log`   | DIGITS_ACCESS_LOG=1  | a line of JSON for each request                        |
|                  | DIGITS_ADMIN_TOKEN   | who may change something; see `access.py`              |

    >>> listener = open_port("127.0.0.1", 7860)
    >>> serve(app, listener, title="Digit reader")
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import socket
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from access import Access
from errors import AddressError
from guards import Rules

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 7860
MAX_PORT = 65535
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # and how this machine calls itself
GRACE_S = 20  # how long answers under way may take once the server is told to stop
LAST_S = 1  # after that, for what holds a connection without end: every open page does


def add_options(
    parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ
) -> None:
    """Add the flags of a server; their defaults come from the environment.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    environment : mapping, default=os.environ
    """

    def names(variable: str) -> list[str]:
        return [name for name in environment.get(variable, "").split(",") if name.strip()]

    # A Space runs behind a proxy that has to reach it.
    host = environment.get("DIGITS_HOST", "0.0.0.0" if "SPACE_ID" in environment else HOST)
    parser.add_argument(
        "--host", default=host, help="address to serve on; 0.0.0.0 for everyone on the network"
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=environment.get("DIGITS_PORT", str(PORT)),
        help="0 takes any free port",
    )
    parser.add_argument(
        "--model",
        default=environment.get("DIGITS_MODEL", "best"),
        help="name in models/, or a file",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        default=names("DIGITS_ALLOW_HOSTS"),
        help="a public name of this server, where a proxy stands before it; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        metavar="URL",
        default=names("DIGITS_ALLOW_ORIGINS"),
        help="a site whose pages may use the API, like https://school.example; may be repeated",
    )
    parser.add_argument(
        "--rate",
        default=environment.get("DIGITS_RATE", ""),
        help="most requests of one client, like 600/minute; without it there is no limit",
    )
    parser.add_argument(
        "--access-log",
        action="store_true",
        default=environment.get("DIGITS_ACCESS_LOG", "") not in {"", "0"},
        help="write a line of JSON for each request to stderr",
    )


def port_number(text: str) -> int:
    """Read a port from the command line."""
    if not (text.isdecimal() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: choose 0 to {MAX_PORT}")
    return int(text)


def choose_rules(
    args: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> tuple[Access, Rules]:
    """Say what the flags mean for who may change something, and for what is let in.

    Raises
    ------
    SettingsError
        If a flag or the administrator token cannot work.
    """
    rules = Rules.for_host(
        args.host,
        names=args.allow_host,
        origins=args.allow_origin,
        rate=args.rate,
        frames="SPACE_ID" in environment,  # the site shows the page in a frame
    )
    access = Access.from_environment(args.host, environment)
    # With a public name there is a proxy, and whoever it lets in comes from this machine.
    return replace(access, beyond_loopback=not rules.clients_are_local), rules


def open_port(host: str, port: int) -> socket.socket:
    """Take the port before the slow part of the start, so that a clash is told at once.

    Raises
    ------
    AddressError
        If the port is in use or may not be used, or there is no such host here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, port, family)  # `create_server` hides that this is what failed
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:  # a name such as "a..b" is never looked up
        named = host or "''"  # which Python would take for every address of this machine
        raise AddressError(
            f"cannot serve on port {port} of {named}: {_explain(error, port)}"
        ) from error


def _explain(error: OSError | UnicodeError, port: int) -> str:
    """Say what is wrong with a host or a port, and what to do about that one of them."""
    other = port + 1 if 1024 <= port < MAX_PORT else PORT
    other_port = f"choose another port, for example: python app.py --port {other}"
    other_host = (
        f"give --host (or DIGITS_HOST) an address of this machine: {HOST} for itself alone, "
        "0.0.0.0 for everyone on the network"
    )
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"no such host is known; {other_host}"
    if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return f"this machine has no such address; {other_host}"
    if error.errno == errno.EADDRINUSE:
        return f"it is in use; {other_port}"
    if error.errno == errno.EACCES:
        return f"this user may not take it, as most often below 1024; {other_port}"
    return f"{(error.strerror or str(error)).lower()}; choose another --host or --port"


def address_of(listener: socket.socket) -> str:
    """Give the address under which this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    host = EVERY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, listener: socket.socket, *, title: str, open_browser: bool = False) -> None:
    """Answer requests until the process is told to stop; those under way are finished.

    Parameters
    ----------
    app : FastAPI
        As `api.build_api` makes it: with `.state.stopping`; `.state.endless`, requests that nobody
        has to wait for; and `.state.under_way`, work whose answer goes out by one of these.
    listener : socket
    title : str
        For the line that says where it is.
    open_browser : bool, default=False
    """
    import uvicorn

    from connections import Connection

    url = address_of(listener)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"{title} is ready: {url} (Ctrl+C stops it)", flush=True)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.stopping = True
            # Each open page holds a connection that lasts as long as the server, and that uvicorn
            # would report as a crash, with a traceback of a hundred lines.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            for each in self.servers:
                each.close()
            await self.finish()
            await super().shutdown(sockets)

        async def finish(self) -> None:
            """Wait for answers, but not for pages that are merely open."""
            patience = time.monotonic() + GRACE_S
            state = app.state
            while self.server_state.tasks - state.endless or state.under_way:
                if self.force_exit:
                    return
                if time.monotonic() > patience:
                    log.warning("gave up on answers that took longer than %d s", GRACE_S)
                    return
                await asyncio.sleep(0.05)

    # The port listens already: a browser that comes now waits for some milliseconds.
    if open_browser:
        webbrowser.open(url)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",  # nothing here speaks it; a request for it is answered as if it had not asked
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_S,
    )
    Server(config).run(sockets=[listener])


def stop(signum: int, frame: object) -> NoReturn:
    """End the process in the ordinary way, so that what is open is closed."""
    raise SystemExit(0)
