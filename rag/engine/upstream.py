"""Requests to a worker: JSON in, JSON out, its errors as faults; given up when the client hangs up."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx2
from fastapi import Request

from rag.engine.faults import WorkerRefused
from rag.web.sse import json_bytes

T = TypeVar("T")

JSON = {"Content-Type": "application/json"}
NO_VISION = "Model does not support images. Please use a model that does."


class ClientGone(Exception):
    """The client has closed its connection; nobody waits for the answer."""


async def post(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    """Send a request to a worker and return its answer. Raises WorkerRefused."""
    response = await client.post(path, content=json_bytes(body), headers=JSON)
    if response.is_error:
        raise refusal(response)
    return response.json()


async def lines(response: httpx2.Response) -> AsyncIterator[str]:
    """Yield the lines of a worker's stream.

    httpx2's own `aiter_lines` ends a line at U+2028 and U+0085 too, which stand unescaped in llama.cpp's JSON.
    """
    held = b""
    async for piece in response.aiter_bytes():
        *whole, held = (held + piece).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
    if held:
        yield held.decode("utf-8", "replace")


def refusal(response: httpx2.Response) -> WorkerRefused:
    """Return llama.cpp's error answer, whose body has been read, as a fault."""
    try:
        error = response.json()["error"]
        if error["message"].startswith("image input is not supported"):  # said with a 500, as if it were our failure
            return WorkerRefused(400, NO_VISION, "invalid_request_error")
        return WorkerRefused(response.status_code, error["message"], error["type"])
    except (ValueError, KeyError, TypeError):
        return WorkerRefused(response.status_code, response.text[:500], "unknown")


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or cancel it and raise ClientGone as soon as the client closes its connection.

    The request's body must have been read: what comes after it can only be the end of the connection.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait({working, leaving})


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
