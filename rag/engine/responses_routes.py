"""/v1/responses: answers that can be gone on from by their id."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from rag.engine.conversation import chat_task
from rag.engine.events import AnswerSoFar, End
from rag.engine.faults import Fault, LoadFailed, NothingLoaded, UnknownModel, WorkerRefused
from rag.engine.generation import generate
from rag.engine.instances import Instances
from rag.engine.replies import CONTEXT_OVERFLOW, Refusal, json_object, openai_fault
from rag.engine.responses_form import Head
from rag.engine.responses_input import as_message, conversation, messages
from rag.engine.responses_store import ResponseStore
from rag.engine.responses_stream import ResponseEvents
from rag.engine.sampling import InvalidRequest
from rag.engine.upstream import unless_client_leaves
from rag.web.sse import event, json_bytes


def responses_router() -> APIRouter:
    """Return the route with a memory of its own."""
    router = APIRouter(prefix="/v1")
    store = ResponseStore()

    @router.post("/responses")
    async def responses(request: Request) -> Response:
        """Answer, whole or as a stream of named events; `ttl` is taken and ignored."""
        try:
            return await _respond(request, store)
        except Fault as fault:
            raise _refusal(fault) from fault

    return router


async def _respond(request: Request, store: ResponseStore) -> Response:
    body = await json_object(request)
    if body is None:
        raise InvalidRequest("The request's body must be a JSON object.")
    earlier = _earlier(body, store)
    asked = conversation(body, earlier)
    instances: Instances = request.app.state.instances
    name = body.get("model")
    loading = instances.for_request(name if isinstance(name, str) else "", "llm")
    instance = await unless_client_leaves(request, loading)
    task = chat_task(asked, instance.model.tool_use)
    head = Head(body, instance.id)
    told = ResponseEvents(head)

    def remember(so_far: AnswerSoFar, end: End) -> None:
        if body.get("store") is not False:
            store.put(head.id, [*earlier, *messages(body["input"]), as_message(so_far.answer(end))])

    async def answering() -> AsyncIterator[dict[str, Any]]:
        async with aclosing(generate(instances, instance, task)) as events:
            async for one in events:
                # First, so that who has the last event can go on from it.
                if isinstance(one, End):
                    remember(told.so_far, one)
                for written in told.add(one):
                    yield written

    if body.get("stream"):
        return StreamingResponse(_stream(told, answering()), media_type="text/event-stream")
    await unless_client_leaves(request, _exhaust(answering()))
    return Response(json_bytes(told.last), media_type="application/json")


async def _exhaust(events: AsyncIterator[dict[str, Any]]) -> None:
    async for _ in events:
        pass


async def _stream(told: ResponseEvents, answering: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    for written in told.opening():
        yield event(written, written["type"])
    try:
        async for written in answering:
            yield event(written, written["type"])
    except Fault as fault:
        for written in told.failure(_message(fault)):
            yield event(written, written["type"])


def _earlier(body: dict[str, Any], store: ResponseStore) -> list[dict[str, Any]]:
    previous = body.get("previous_response_id")
    if previous is None:
        return []
    found = store.get(previous) if isinstance(previous, str) else None
    if found is None:
        raise InvalidRequest(f"Previous response with id '{previous}' not found.", "previous_response_id")
    return list(found)


def _refusal(fault: Fault) -> Refusal:
    if isinstance(fault, UnknownModel | LoadFailed | NothingLoaded):
        return openai_fault(fault)
    if isinstance(fault, InvalidRequest):
        code = "previous_response_not_found" if fault.param == "previous_response_id" else "invalid_value"
        status, error = 400, {"type": "invalid_request_error", "param": fault.param, "code": code}
    else:
        status, error = 500, {"type": "internal_error", "param": None, "code": "unknown"}
    return Refusal(status, {"error": {"message": _message(fault), **error}})


def _message(fault: Fault) -> str:
    return CONTEXT_OVERFLOW if isinstance(fault, WorkerRefused) and fault.overflow else str(fault)
