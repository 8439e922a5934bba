"""/api/v0, LM Studio's first API of its own: OpenAI's forms, and blocks about speed, model and runtime."""

import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from rag.engine import chat, completions, openai_routes
from rag.engine.conversation import Task, chat_task
from rag.engine.events import Answer, AnswerSoFar, End, Event
from rag.engine.faults import Fault, WorkerRefused
from rag.engine.generation import INCOMPLETE, generate
from rag.engine.instance import Instance
from rag.engine.instances import Instances
from rag.engine.library import Model
from rag.engine.native_routes import instances_of
from rag.engine.replies import json_object, openai_fault, text_refusal
from rag.engine.upstream import unless_client_leaves
from rag.web.sse import DONE, error_event, event

router = APIRouter(prefix="/api/v0")

TaskFor = Callable[[Model], Task]
Completion = Callable[[Answer, str], dict[str, Any]]
Stream = Callable[[AsyncIterator[Event], str, bool], AsyncIterator[bytes]]

_STOP_REASONS = {"stop": "eosFound", "length": "maxPredictedTokensReached", "tool_calls": "toolCalls"}


@router.get("/models")
def models(request: Request) -> Response:
    """List the downloaded models and whether they are loaded."""
    instances = _instances(request)
    return JSONResponse(
        {"object": "list", "data": [model_row(model, instances) for model in instances.library.models()]}
    )


@router.get("/models/{key:path}")
def model(request: Request, key: str) -> Response:
    """Show one model; keys may hold slashes."""
    instances = _instances(request)
    found = instances.library.find(key)
    if found is None:
        raise text_refusal(f'Model "{key}" not found', 404)
    return JSONResponse(model_row(found, instances))


def model_row(model: Model, instances: Instances) -> dict[str, Any]:
    """Return a model as v0 shows it."""
    loaded = instances_of(model, instances)
    kind = "embeddings" if model.kind == "embedding" else "vlm" if model.projector else "llm"
    row: dict[str, Any] = {
        "id": model.key,
        "object": "model",
        "type": kind,
        "publisher": model.publisher,
        "arch": model.architecture,
        "compatibility_type": "gguf",
        "quantization": model.quantization,
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": model.max_context_length,
    }
    if loaded:
        row["loaded_context_length"] = loaded[0].spec.context_length
    if model.tool_use:
        row["capabilities"] = ["tool_use"]
    return row


@router.post("/embeddings")
async def embeddings(request: Request) -> Response:
    """Embed as /v1 does: v0 adds nothing here."""
    return await openai_routes.embeddings(request)


@router.post("/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    return await _answer(request, _chat, chat.completion, chat.stream)


@router.post("/completions")
async def plain_completions(request: Request) -> Response:
    """Continue a text."""
    return await _answer(request, _plain, completions.completion, completions.stream)


def _chat(body: dict[str, Any]) -> TaskFor:
    asked = replace(chat.conversation(body), tell_stop=True)
    return lambda model: chat_task(asked, model.tool_use)


def _plain(body: dict[str, Any]) -> TaskFor:
    task = completions.task(body)
    return lambda _: task


async def _answer(
    request: Request, read: Callable[[dict[str, Any]], TaskFor], completion: Completion, stream: Stream
) -> Response:
    body = await json_object(request)
    if body is None:
        raise text_refusal("The request's body must be a JSON object.")
    instances = _instances(request)
    name = body.get("model")
    try:
        task_for = read(body)
        loading = instances.for_request(name if isinstance(name, str) else "", "llm", body.get("ttl"))
        instance = await unless_client_leaves(request, loading)
        timed = _Timed(task_for(instance.model))
        if body.get("stream"):
            return StreamingResponse(_streamed(instances, instance, timed, stream), media_type="text/event-stream")
        answer = await unless_client_leaves(request, timed.whole(instances, instance))
    except Fault as fault:
        raise openai_fault(fault) from fault
    whole = completion(answer, instance.id)
    return JSONResponse(whole | timed.blocks(instance, answer.end))


async def _streamed(instances: Instances, instance: Instance, timed: "_Timed", stream: Stream) -> AsyncIterator[bytes]:
    """Yield the chunks of /v1, the last of them with the three blocks."""
    try:
        async with aclosing(timed.events(instances, instance)) as events:
            async for written in stream(events, instance.id, False):
                if timed.end is not None and written != DONE:
                    chunk = json.loads(written.removeprefix(b"data: "))
                    chunk |= timed.blocks(instance, timed.end)
                    yield event(chunk)
                else:
                    yield written
    except Fault as fault:
        error = openai_fault(fault).body["error"]
        yield error_event(error if isinstance(error, str) else error["message"])


@dataclass(slots=True)
class _Timed:
    """One generation, and how long it took."""

    task: Task
    started: float = field(default_factory=time.monotonic)
    first: float | None = None
    end: End | None = None

    async def events(self, instances: Instances, instance: Instance) -> AsyncGenerator[Event]:
        """Yield the answer's events."""
        async with aclosing(generate(instances, instance, self.task)) as events:
            async for told in events:
                if self.first is None:
                    self.first = time.monotonic()
                if isinstance(told, End):
                    self.end = told
                yield told

    async def whole(self, instances: Instances, instance: Instance) -> Answer:
        """Return the whole answer."""
        so_far = AnswerSoFar()
        async with aclosing(self.events(instances, instance)) as events:
            async for told in events:
                so_far.add(told)
                if isinstance(told, End):
                    return so_far.answer(told)
        raise WorkerRefused(500, INCOMPLETE, "server_error")

    def blocks(self, instance: Instance, end: End) -> dict[str, Any]:
        """Return what v0 adds to an answer."""
        first = self.first or self.started
        generation = max(time.monotonic() - first, 1e-6)
        return {
            "stats": {
                "tokens_per_second": end.usage.completion / generation,
                "time_to_first_token": round(first - self.started, 3),
                "generation_time": round(generation, 3),
                "stop_reason": "stopStringFound" if end.stop_sequence else _STOP_REASONS[end.finish_reason],
            },
            "model_info": {
                "arch": instance.model.architecture,
                "quant": instance.model.quantization,
                "format": "gguf",
                "context_length": instance.spec.context_length,
            },
            "runtime": {"name": f"llama.cpp-{sys.platform}", "version": _runtime(), "supported_formats": ["gguf"]},
        }


@cache
def _runtime() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "unknown"


def _instances(request: Request) -> Instances:
    instances: Instances = request.app.state.instances
    return instances
