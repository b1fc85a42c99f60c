"""How a server says no: with a status, and `{"error": ..., "detail": ...}` in JSON.

    what is wrong -> Refusal -> body and headers, whoever answers: connection, guard, API, page

What is wrong has a name for programs, and a sentence for people with what they can do about it.

    >>> Refusal(422, "invalid", "name: it is missing").to_json()
    b'{"error":"invalid","detail":"name: it is missing"}'
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

RETRY_AFTER_S = 2  # when to come back to a server that has too much to do


@dataclass(frozen=True)
class Refusal:
    """An answer that tells why there is no other one.

    Attributes
    ----------
    status : int
        Of HTTP, 400 or more.
    error : str
        A name for programs, such as "too_large".
    detail : str
        For people: what was wrong, with which field, and what to do.
    retry_after_s : int
        When to come back; 0 promises nothing.
    """

    status: int
    error: str
    detail: str
    retry_after_s: int = 0

    def to_json(self) -> bytes:
        """Write the body of the answer."""
        told = {"error": self.error, "detail": self.detail}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()

    def to_headers(self) -> list[tuple[bytes, bytes]]:
        """List the headers of the answer: what its body is, and that no cache may keep it."""
        headers = {
            "content-type": "application/json",
            "content-length": str(len(self.to_json())),
            "cache-control": "no-store",
        }
        if self.retry_after_s:
            headers["retry-after"] = str(self.retry_after_s)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def to_messages(self, further: Iterable[tuple[bytes, bytes]] = ()) -> list[dict[str, Any]]:
        """Write the answer as ASGI sends it.

        Parameters
        ----------
        further : iterable of (bytes, bytes), optional
            Other headers: names and values.

        Returns
        -------
        list of dict
            The messages, in their order.
        """
        headers = [*self.to_headers(), *further]
        return [
            {"type": "http.response.start", "status": self.status, "headers": headers},
            {"type": "http.response.body", "body": self.to_json()},
        ]


OUR_MISTAKE = Refusal(
    500, "internal", "something went wrong in the server; its log says what. Try again later"
)
