"""/v1: models, embeddings, chat completions, plain completions."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from rag.engine import chat, completions
from rag.engine.conversation import Task, chat_task
from rag.engine.embedding import embed
from rag.engine.events import Answer, Event
from rag.engine.faults import Fault, WorkerRefused
from rag.engine.generation import generate, whole
from rag.engine.instance import Instance
from rag.engine.instances import Instances
from rag.engine.replies import CONTEXT_OVERFLOW, json_object, openai_fault, text_refusal
from rag.engine.sampling import InvalidRequest
from rag.engine.upstream import unless_client_leaves
from rag.web.sse import error_event, json_bytes

router = APIRouter(prefix="/v1")


def _instances(request: Request) -> Instances:
    instances: Instances = request.app.state.instances
    return instances


@router.get("/models")
def models(request: Request) -> Response:
    """List what is downloaded, or only what is loaded where just-in-time loading is off."""
    instances = _instances(request)
    if instances.policy.jit:
        names = [model.key for model in instances.library.models()]
    else:
        names = [instance.id for instance in instances.loaded()]
    rows = [{"id": name, "object": "model", "owned_by": "organization_owner"} for name in names]
    return JSONResponse({"data": rows, "object": "list"})


@router.post("/embeddings")
async def embeddings(request: Request) -> Response:
    """Embed a string or a list of strings: always floats, never a token count."""
    body = await _body(request)
    texts = body.get("input")
    if texts is None:
        raise text_refusal("'input' field is required")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise text_refusal("'input' field must be a string or an array of strings")
    return await unless_client_leaves(request, _embeddings(_instances(request), body, texts))


async def _embeddings(instances: Instances, body: dict[str, Any], texts: list[str]) -> Response:
    try:
        instance = await instances.for_request(_model(body), "embedding", body.get("ttl"))
        async with instances.use(instance) as client:
            vectors = await embed(client, texts, instance.spec.context_length) if texts else []
    except Fault as fault:
        raise openai_fault(fault, embeddings=True) from fault
    data = [{"object": "embedding", "embedding": vector, "index": index} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return JSONResponse({"object": "list", "data": data, "model": instance.id, "usage": usage})


@router.post("/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as a stream."""
    body = await _body(request)
    try:
        asked = chat.conversation(body)
    except InvalidRequest as fault:
        raise openai_fault(fault) from fault
    instance = await _loaded(request, body)
    task = chat_task(asked, instance.model.tool_use)
    return await _answer(request, body, instance, task, chat.completion, chat.stream)


@router.post("/completions")
async def plain_completions(request: Request) -> Response:
    """Continue a text, whole or as a stream."""
    body = await _body(request)
    try:
        task = completions.task(body)
    except InvalidRequest as fault:
        raise openai_fault(fault) from fault
    instance = await _loaded(request, body)
    return await _answer(request, body, instance, task, completions.completion, completions.stream)


async def _loaded(request: Request, body: dict[str, Any]) -> Instance:
    loading = _instances(request).for_request(_model(body), "llm", body.get("ttl"))
    try:
        return await unless_client_leaves(request, loading)
    except Fault as fault:
        raise openai_fault(fault) from fault


async def _answer(
    request: Request,
    body: dict[str, Any],
    instance: Instance,
    task: Task,
    completion: Callable[[Answer, str], dict[str, Any]],
    stream: Callable[[AsyncIterator[Event], str, bool], AsyncIterator[bytes]],
) -> Response:
    instances = _instances(request)
    if body.get("stream"):
        options = body.get("stream_options")
        include_usage = isinstance(options, dict) and options.get("include_usage") is True
        events = generate(instances, instance, task)
        written = _with_errors(events, stream(events, instance.id, include_usage))
        return StreamingResponse(written, media_type="text/event-stream")
    try:
        answer = await unless_client_leaves(request, whole(instances, instance, task))
    except Fault as fault:
        raise openai_fault(fault) from fault
    return Response(json_bytes(completion(answer, instance.id)), media_type="application/json")


async def _with_errors(events: AsyncGenerator[Event], written: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async with aclosing(events):
            async for piece in written:
                yield piece
    except Fault as fault:
        overflow = isinstance(fault, WorkerRefused) and fault.overflow
        yield error_event(CONTEXT_OVERFLOW if overflow else str(fault))


async def _body(request: Request) -> dict[str, Any]:
    body = await json_object(request)
    if body is None:
        raise text_refusal("The request's body must be a JSON object.")
    return body


def _model(body: dict[str, Any]) -> str:
    name = body.get("model")
    return name if isinstance(name, str) else ""
