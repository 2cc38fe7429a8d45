"""The door of the backend: who may ask, how much they may send, and what they are told when something breaks."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import traceback
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("maskloop.serve")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask. Either `user` and `password`, or `secret`: a bearer's, or the password of any user. No `repr`."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether anybody may ask."""
        return not (self.secret or self.password)

    def admits(self, authorisation: str) -> bool:
        """Whether the value of an Authorization header is right; takes as long for a wrong one."""
        if self.is_open:
            return True
        scheme, _, value = authorisation.partition(" ")
        if scheme.lower() == "bearer":
            return bool(self.secret) and _equal(value, self.secret)
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if self.secret and _equal(password, self.secret):
            return True
        right_user, right_password = _equal(user, self.user), _equal(password, self.password)
        return bool(self.password) and right_user and right_password


def _equal(given: str, expected: str | None) -> bool:
    return hmac.compare_digest(given.encode(), (expected or "").encode())


class Guard:
    """ASGI middleware: 401 without the right header, 413 for too large a body, 500 without a traceback."""

    def __init__(self, app: ASGIApp, access: Access, max_bytes: int) -> None:
        self._app = app
        self._access = access
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._access.admits(headers.get("authorization", "")):
            challenge = [(b"www-authenticate", b'Basic realm="maskloop", charset="UTF-8"')]
            await _answer(send, 401, "wrong or missing credentials", challenge)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_bytes:
            await _answer(send, 413, f"the request is larger than {self._max_bytes / 1e6:g} MB")
            return
        await self._passed_on(scope, receive, send)

    async def _passed_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, answering = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return {"type": "http.disconnect"} if received > self._max_bytes else message

        async def noted(message: Message) -> None:
            nonlocal answering
            if received <= self._max_bytes:
                answering = True
                await send(message)

        try:
            await self._app(scope, counted, noted)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client learns no more than that it happened
            if received <= self._max_bytes:
                place = traceback.extract_tb(error.__traceback__)[-1]
                logger.error("%s in %s line %s", type(error).__name__, place.filename, place.lineno)
                if not answering:
                    await _answer(send, 500, "an error of the server; its log names the place")
        if received > self._max_bytes:
            await _answer(send, 413, f"the request is larger than {self._max_bytes / 1e6:g} MB")


async def _answer(send: Send, status: int, error: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps({"error": error}).encode()
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *(headers or []),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
