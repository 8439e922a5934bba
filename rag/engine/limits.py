"""How much a client may send, and how long the engine waits for one that neither sends nor reads."""

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.engine.replies import Refusal, as_response, family_refusal

MOST_BODY_BYTES = 64 * 1024 * 1024
BODY_SECONDS = 60.0
"""For each piece of a request's body."""
STALL_SECONDS = 120.0
"""For a client to take what was sent; a stream that nobody reads holds a model's slot."""


class Limits:
    """Refuses bodies that are too large (413) or do not come (408), and lets go of clients that stop reading."""

    def __init__(
        self,
        app: ASGIApp,
        most_body_bytes: int = MOST_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._app = app
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
                raise family_refusal(scope["path"], 408, "The request's body did not come in time.") from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if received > self._most:
                    raise self._too_large(scope)
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
                raise self._too_large(scope)
            await self._app(scope, bounded, patient)
        except Refusal as refusal:
            if answering:
                raise
            await as_response(refusal)(scope, receive, send)

    def _too_large(self, scope: Scope) -> Refusal:
        megabytes = self._most / 1024 / 1024
        return family_refusal(scope["path"], 413, f"The request's body is larger than {megabytes:g} MB.")


def _declared_length(scope: Scope) -> int:
    value = Headers(scope=scope).get("content-length", "0")
    return int(value) if value.isdigit() else 0
