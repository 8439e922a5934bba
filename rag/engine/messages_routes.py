"""/v1/messages, for Anthropic's clients: their form of requests, answers, streams and errors."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from rag.engine.conversation import Task, chat_task
from rag.engine.faults import Fault, LoadFailed, NothingLoaded, UnknownModel, WorkerRefused
from rag.engine.generation import generate, whole
from rag.engine.instance import Instance
from rag.engine.instances import Instances
from rag.engine.messages_input import conversation
from rag.engine.messages_stream import MessageEvents, message
from rag.engine.replies import CONTEXT_OVERFLOW, Refusal, json_object
from rag.engine.sampling import InvalidRequest
from rag.engine.upstream import unless_client_leaves
from rag.web.sse import event, json_bytes

router = APIRouter(prefix="/v1")


@router.post("/messages")
async def messages(request: Request) -> Response:
    """Answer a conversation, whole or as a stream of named events."""
    try:
        return await _answer(request)
    except Fault as fault:
        status, body = _error(fault)
        raise Refusal(status, body) from fault


async def _answer(request: Request) -> Response:
    body = await json_object(request)
    if body is None:
        raise InvalidRequest("The request's body must be a JSON object.")
    asked = conversation(body)
    instances: Instances = request.app.state.instances
    name = body.get("model")
    loading = instances.for_request(name if isinstance(name, str) else "", "llm", body.get("ttl"))
    instance = await unless_client_leaves(request, loading)
    task = chat_task(asked, instance.model.tool_use)
    if body.get("stream"):
        return StreamingResponse(_stream(instances, instance, task), media_type="text/event-stream")
    answer = await unless_client_leaves(request, whole(instances, instance, task))
    return Response(json_bytes(message(answer, instance.id)), media_type="application/json")


async def _stream(instances: Instances, instance: Instance, task: Task) -> AsyncIterator[bytes]:
    told = MessageEvents(instance.id)
    try:
        async with aclosing(generate(instances, instance, task)) as events:
            async for one in events:
                for written in told.add(one):
                    yield event(written, written["type"])
    except Fault as fault:
        yield event(_error(fault)[1], "error")


def _error(fault: Fault) -> tuple[int, dict[str, Any]]:
    """Return form D. LM Studio tells all that goes wrong in the engine as a 500 `api_error`."""
    status, kind, text = 500, "api_error", str(fault)
    if isinstance(fault, InvalidRequest):
        status, kind = 400, "invalid_request_error"
    elif isinstance(fault, UnknownModel | LoadFailed | NothingLoaded):
        status, kind = 404, "not_found_error"
    elif isinstance(fault, WorkerRefused) and fault.overflow:
        text = CONTEXT_OVERFLOW
    elif isinstance(fault, WorkerRefused) and fault.status < 500:
        status, kind = 400, "invalid_request_error"
    return status, {"type": "error", "error": {"type": kind, "message": text}}
