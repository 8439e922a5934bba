"""POST /api/v1/chat: the answer whole, or as named events."""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from rag.engine.auth import demand
from rag.engine.instances import Instances
from rag.engine.native_body import strict_body
from rag.engine.native_chat import NativeChat, Told
from rag.engine.native_chat_request import KEYS, read_request
from rag.engine.replies import Refusal
from rag.engine.responses_store import ResponseStore
from rag.engine.upstream import unless_client_leaves
from rag.web.sse import event

log = logging.getLogger("rag.engine")

EVENTS_AHEAD = 64


def chat_router() -> APIRouter:
    """Return the route with a memory of its own for conversations; it ends with the engine."""
    router = APIRouter(prefix="/api/v1")
    store = ResponseStore()

    @router.post("/chat")
    async def chat(request: Request) -> Response:
        """Answer one message of a conversation, with the tools of MCP servers where they are asked for."""
        wanted = read_request(await strict_body(request, KEYS))
        for one in wanted.integrations:
            demand(request, "mcp-json" if one.url is None else "per-request-mcp", f"mcp/{one.label}")
        instances: Instances = request.app.state.instances
        answer = NativeChat(wanted, instances, store)
        if wanted.stream:
            return StreamingResponse(_events(answer), media_type="text/event-stream")
        await unless_client_leaves(request, answer.run(_unheard))
        return JSONResponse(answer.result())

    return router


async def _unheard(_: Told) -> None:
    pass


async def _events(answer: NativeChat) -> AsyncIterator[bytes]:
    """Yield the answer's events. It runs in a task of its own, which ends when nobody reads them any more.

    MCP connections want to be opened and closed by one task; this generator may be closed by any.
    """
    waiting: asyncio.Queue[Told | None] = asyncio.Queue(EVENTS_AHEAD)
    working = asyncio.create_task(_work(answer, waiting))
    try:
        while (told := await waiting.get()) is not None:
            yield event(told, told["type"])
    finally:
        working.cancel()
        await asyncio.wait({working})


async def _work(answer: NativeChat, waiting: "asyncio.Queue[Told | None]") -> None:
    await waiting.put({"type": "chat.start", "model_instance_id": answer.result()["model_instance_id"]})
    try:
        await answer.run(waiting.put)
    except Refusal as exc:
        log.warning("stream failed: %s", exc.body)
        await waiting.put({"type": "error", **exc.body})
    except Exception as exc:  # the stream's boundary: headers are out, the client has to be told in an event
        log.exception("stream failed")
        error = {"type": "internal_error", "message": f"{type(exc).__name__}: {exc}", "code": "unknown"}
        await waiting.put({"type": "error", "error": error})
    await waiting.put({"type": "chat.end", "result": answer.result()})
    await waiting.put(None)
