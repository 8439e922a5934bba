"""What a thread yields, on its way to a client: its last item, or all of them as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

import rag.errors as errors
from rag.service.problems import Refused, problem_of
from rag.web.sse import event

log = logging.getLogger("rag.service")

T = TypeVar("T")


async def outcome(request: Request, items: AsyncGenerator[T, None]) -> T:
    """The last item, for a client that wants nothing else. Raises ClientDisconnect where it has hung up meanwhile."""
    gone, last = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(_last(items))
    try:
        await asyncio.wait({last, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not last.done():
            raise ClientDisconnect
        return last.result()
    finally:
        gone.cancel()
        last.cancel()
        with suppress(asyncio.CancelledError):
            await last


async def _last(items: AsyncGenerator[T, None]) -> T:
    async with aclosing(items):
        async for item in items:
            found = item
    return found


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def event_stream(
    events: AsyncGenerator[bytes, None], last: Callable[[errors.RagError | Refused], bytes]
) -> StreamingResponse:
    """Server-sent events; an error that comes in the midst of them is told as `last` does, for the headers are out."""

    async def told() -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            try:
                async for one in events:
                    yield one
            except (errors.RagError, Refused) as exc:
                log.warning("%s", exc)
                yield last(exc)
            except Exception:
                log.exception("a stream failed")
                yield last(errors.RagError("An error in the service, which its log tells of. Please report it."))

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(told(), media_type="text/event-stream", headers=headers)


COMMENT = b": \n\n"  # which clients pass over


def error_event(exc: errors.RagError | Refused) -> bytes:
    """The last event of a stream that failed."""
    return event({"error": problem_of(exc).model_dump()}, "error")
