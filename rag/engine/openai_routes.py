"""/v1: models, embeddings, chat completions."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from rag.engine import chat
from rag.engine.embedding import embed
from rag.engine.faults import Fault, WorkerRefused
from rag.engine.instance import Instance
from rag.engine.instances import Instances
from rag.engine.replies import CONTEXT_OVERFLOW, json_object, openai_fault, text_refusal
from rag.engine.upstream import post, refusal, unless_client_leaves

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
    worker_request = chat.worker_request(body)
    instances = _instances(request)
    try:
        instance = await unless_client_leaves(request, instances.for_request(_model(body), "llm", body.get("ttl")))
    except Fault as fault:
        raise openai_fault(fault) from fault
    if not body.get("stream"):
        return await unless_client_leaves(request, _whole_answer(instances, instance, worker_request))
    options = body.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    return StreamingResponse(
        _streamed_answer(instances, instance, worker_request, include_usage), media_type="text/event-stream"
    )


async def _whole_answer(instances: Instances, instance: Instance, worker_request: dict[str, Any]) -> Response:
    try:
        async with instances.use(instance) as client:
            reply = await post(client, "/v1/chat/completions", worker_request)
            reasoning = reply["choices"][0]["message"].get("reasoning_content")
            reasoned = await post(client, "/tokenize", {"content": reasoning}) if reasoning else {"tokens": []}
    except Fault as fault:
        raise openai_fault(fault) from fault
    return JSONResponse(chat.completion(reply, instance.id, len(reasoned["tokens"])))


async def _streamed_answer(
    instances: Instances, instance: Instance, worker_request: dict[str, Any], include_usage: bool
) -> AsyncIterator[bytes]:
    try:
        async with (
            instances.use(instance) as client,
            client.stream("POST", "/v1/chat/completions", json=worker_request) as response,
        ):
            if response.is_error:
                await response.aread()
                raise refusal(response)
            async for piece in chat.stream(response.aiter_lines(), instance.id, include_usage):
                yield piece
    except Fault as fault:
        overflow = isinstance(fault, WorkerRefused) and fault.overflow
        yield chat.error_event(CONTEXT_OVERFLOW if overflow else str(fault))


async def _body(request: Request) -> dict[str, Any]:
    body = await json_object(request)
    if body is None:
        raise text_refusal("The request's body must be a JSON object.")
    return body


def _model(body: dict[str, Any]) -> str:
    name = body.get("model")
    return name if isinstance(name, str) else ""
