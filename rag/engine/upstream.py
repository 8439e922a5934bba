"""Requests to a worker: JSON in, JSON out, its errors as faults; given up when the client hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx2
from fastapi import Request

from rag.engine.faults import WorkerRefused

T = TypeVar("T")


class ClientGone(Exception):
    """The client has closed its connection; nobody waits for the answer."""


async def post(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    """Send a request to a worker and return its answer. Raises WorkerRefused."""
    response = await client.post(path, json=body)
    if response.is_error:
        raise refusal(response)
    return response.json()


def refusal(response: httpx2.Response) -> WorkerRefused:
    """Return llama.cpp's error answer, whose body has been read, as a fault."""
    try:
        error = response.json()["error"]
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
