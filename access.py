"""Who may change something: train, choose a model, delete a correction. Reading is for everyone.

    where the server listens, DIGITS_ADMIN_TOKEN -> Access -> require(token) before each change

| listens on         | token set | changes are                                       |
|--------------------|-----------|---------------------------------------------------|
| this machine only  | no        | open: whoever sits here may do everything         |
| this machine only  | yes       | locked: the token is asked for                    |
| a network          | yes       | locked: the token is asked for                    |
| a network          | no        | off: nobody may change anything until one is set  |

    >>> Access(beyond_loopback=True).changes_are
    'off'
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from errors import AccessError, ChangesOffError, SettingsError

Changes = Literal["open", "locked", "off"]

TOKEN_VARIABLE = "DIGITS_ADMIN_TOKEN"
SHORTEST_TOKEN = 12  # characters; what can be guessed in an afternoon protects nothing
MAKE_TOKEN = 'python -c "import secrets; print(secrets.token_urlsafe(24))"'


@dataclass(frozen=True)
class Access:
    """Decides whether a change is allowed. Immutable, so every thread may ask it.

    Attributes
    ----------
    beyond_loopback : bool, default=False
        Whether other machines can reach the server.
    token : str or None, default=None
        What an administrator has to show; never printed.
    """

    beyond_loopback: bool = False
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, host: str, environment: Mapping[str, str] | None = None) -> Access:
        """Read the token from `DIGITS_ADMIN_TOKEN`, for a server that listens on `host`.

        Parameters
        ----------
        host : str
            The address or name that the server listens on.
        environment : mapping, optional
            In place of `os.environ`.

        Raises
        ------
        SettingsError
            If the token is shorter than 12 characters, or cannot be sent in a header.
        """
        given = (os.environ if environment is None else environment).get(TOKEN_VARIABLE, "").strip()
        if given and not (len(given) >= SHORTEST_TOKEN and given.isascii() and given.isprintable()):
            raise SettingsError(
                f"{TOKEN_VARIABLE} has to have at least {SHORTEST_TOKEN} characters, all ASCII; "
                f"make one: {MAKE_TOKEN}"
            )
        return cls(beyond_loopback=not is_loopback(host), token=given or None)

    @property
    def changes_are(self) -> Changes:
        """Whether changes are "open", "locked" (a token is needed) or "off"."""
        if self.token:
            return "locked"
        return "off" if self.beyond_loopback else "open"

    def require(self, given: object) -> None:
        """Let a change pass, or say why not.

        Parameters
        ----------
        given : object
            The token that came with the request, or None. Anything may have been sent.

        Raises
        ------
        AccessError
            If the token is missing or wrong.
        ChangesOffError
            If nobody may change anything here.
        """
        if self.changes_are == "off":
            raise ChangesOffError(
                "changes are off: this server can be reached from other machines and has no "
                f"administrator token; set {TOKEN_VARIABLE} and start it again"
            )
        if self.changes_are == "locked" and not self._is_token(given):
            problem = "is wrong" if given else "is missing"
            raise AccessError(
                f"the administrator token {problem}; it is what {TOKEN_VARIABLE} was set to "
                "when the server was started"
            )

    def is_trusted(self, given: object = None) -> bool:
        """Whether somebody may know where files lie here: on this machine, or with the token."""
        return not self.beyond_loopback or self._is_token(given)

    def _is_token(self, given: object) -> bool:
        """Compare in a time that tells nothing of the token, not even its length."""
        if not isinstance(given, str) or not self.token:
            return False
        shown, expected = (
            hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
            for text in (given, self.token)
        )
        return hmac.compare_digest(shown, expected)


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached from this machine only.

    Only what surely is counts: a name other than localhost may be anything.
    """
    name = host.strip().strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def group_of(client: str) -> str:
    """Count what belongs to one client together: in IPv6 everyone has 2**64 addresses."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4 or address.ipv4_mapped:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))
