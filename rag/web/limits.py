"""How much a client may send, and how long a server waits for one that neither sends nor reads."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 64 * 1024 * 1024
BODY_SECONDS = 60.0
"""For each piece of a request's body."""
STALL_SECONDS = 120.0
"""For a client to take what was sent; a stream that nobody reads holds a model's slot."""


Refuse = Callable[[str, int, str], Response]  # of a path, a status and a message


class LimitReached(HTTPException):
    """A body that is too large or does not come. It passes through FastAPI's reading of bodies as it is."""


class Limits:
    """Refuses bodies that are too large (413) or do not come (408), and lets go of clients that stop reading."""

    def __init__(
        self,
        app: ASGIApp,
        refuse: Refuse,
        most_body_bytes: int = MOST_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._most = most_body_bytes
        self._body_seconds = body_seconds
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0
        whole = False
        answering = False

        async def bounded() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()  # nothing but the end of the connection can come: no hurry
            try:
                async with asyncio.timeout(self._body_seconds):
                    message = await receive()
            except TimeoutError:
                raise LimitReached(408, "The request's body did not come in time.") from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if received > self._most:
                    raise self._too_large()
            return message

        async def patient(message: Message) -> None:
            nonlocal answering
            answering = True
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        try:
            if _declared_length(scope) > self._most:
                raise self._too_large()
            await self._app(scope, bounded, patient)
        except LimitReached as reached:
            if answering:
                raise
            await self._refuse(scope["path"], reached.status_code, reached.detail)(scope, receive, send)

    def _too_large(self) -> LimitReached:
        return LimitReached(413, f"The request's body is larger than {self._most / 1024 / 1024:g} MB.")


def _declared_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "0")
    return int(value) if value.isdigit() else 0
