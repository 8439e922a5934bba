"""/api/lmstudio: the model server's models, and plain requests to them."""

import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

import rag.errors as errors
from rag.lmstudio.chat import Delta, Message
from rag.lmstudio.choice import choose
from rag.lmstudio.http import Connection
from rag.lmstudio.models import list_models, server_kind
from rag.lmstudio.schemas import calls_in_text
from rag.service.desk import Desk, TheDesk
from rag.service.images import data_url, vision_model
from rag.service.lmstudio_forms import (
    CallForm,
    ChatReply,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    HealthForm,
    LoadedRow,
    LoadedRows,
    LoadForm,
    LoadRequest,
    ModelRow,
    ModelRows,
    ReplyChoice,
    ReplyMessage,
    TextReply,
    ToolForm,
    ToolsReply,
    ToolsRequest,
    UnloadForm,
    VisionRequest,
)
from rag.service.problems import MODELS, Refused, SafeJson, problem_of, told
from rag.service.streams import COMMENT, event_stream, outcome
from rag.web.sse import DONE, event
from rag.web.threads import Notice, Put, Silence

router = APIRouter(prefix="/api/lmstudio", tags=["LM Studio"], default_response_class=SafeJson, responses=MODELS)

_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON, or with `stream` its pieces as server-sent events, ended by `data: [DONE]`.",
        "content": {"text/event-stream": {}},
    }
}


@router.get("/health", summary="Whether the model server answers")
def health(desk: TheDesk) -> HealthForm:
    """Its address, and how many models it has; 503 where nothing answers, and nothing is started."""
    host = desk.settings.host
    try:
        with Connection(desk.settings) as connection:
            found = list_models(connection, server_kind(connection))
    except errors.Unauthorized:
        return HealthForm(auth="required", host=host, models=0, loaded=0)
    loaded = sum(len(model.instances) for model in found)
    return HealthForm(auth="ok", host=host, models=len(found), loaded=loaded)


@router.get("/models", summary="List models")
def models(desk: TheDesk) -> ModelRows:
    """Every model that the server has on disk."""
    rows = [
        ModelRow(
            key=model.key,
            type=model.type,
            display_name=model.display_name,
            size_bytes=model.size_bytes,
            max_context_length=model.max_context_length,
            quantization=model.quantization,
            vision=model.vision,
            loaded=bool(model.instances),
        )
        for model in desk.lm.models()
    ]
    return ModelRows(models=rows)


@router.get("/models/loaded", summary="List loaded models")
def loaded(
    desk: TheDesk,
    model_type: Annotated[
        str | None, Query(pattern="^(llm|embeddings?)$", description="`llm` or `embedding`; default: both.")
    ] = None,
) -> LoadedRows:
    """The instances in memory, with the time until those that we loaded are unloaded if nobody uses them."""
    now = time.time()
    rows = [
        LoadedRow(
            model_key=one.model,
            instance_id=one.instance_id,
            type=one.type,
            context_length=one.context_length,
            ttl_s=one.ttl_s,
            remaining_s=one.remaining_s,
            expires_at=None if one.remaining_s is None else now + one.remaining_s,
            ours=one.owner is not None,
        )
        for one in desk.lm.loaded()
        if model_type is None or model_type.startswith(one.type)
    ]
    return LoadedRows(models=rows)


@router.post("/models/load", summary="Load a model")
def load(desk: TheDesk, body: LoadRequest) -> LoadForm:
    """Load a model and keep it for `ttl` idle seconds; one that is loaded with enough context is taken as it is."""
    ttl = -1 if body.ttl is None else body.ttl
    if ttl == 0:
        raise errors.UsageProblem("A TTL of 0 ends with the program that loads, and the service goes on: use 1 or -1.")
    found = desk.lm.load(body.model_key, context_length=body.context_length or 0, ttl=ttl)
    return LoadForm(
        model_key=found.key, instance_id=found.instance_id, type=found.type, context_length=found.context_length
    )


@router.delete("/models/unload/{model_key:path}", summary="Unload a model")
def unload(desk: TheDesk, model_key: Annotated[str, Path(min_length=1, max_length=300)]) -> UnloadForm:
    """Unload all instances of a model, or the one of that id. Keys may contain slashes."""
    return UnloadForm(unloaded=desk.lm.unload(model_key))


@router.post("/completions", response_model=TextReply, responses=_STREAMED, summary="Continue a text")
async def completions(desk: TheDesk, request: Request, body: CompletionRequest) -> Any:
    """What a model writes on after the prompt, which no template is put around."""

    def ask(model: str | None) -> Deltas:
        return desk.lm.complete_stream(
            body.prompt, model=model, max_tokens=body.max_tokens, temperature=body.temperature
        )

    asked = desk.in_turn(partial(_generated, desk, body.model, ask))
    if body.stream:
        return event_stream(_pieces(asked), _error)
    return _text(await _reply(request, asked))


@router.post("/chat/completions", response_model=ChatReply, responses=_STREAMED, summary="Chat")
async def chat(desk: TheDesk, request: Request, body: ChatRequest) -> Any:
    """What a model answers; with `stream` in OpenAI's chunks."""
    asked = desk.in_turn(_chatting(desk, body, body.model, [turn.model_dump() for turn in body.messages]))
    if body.stream:
        return event_stream(_chunks(asked), _error)
    reply = await _reply(request, asked)
    message = ReplyMessage(content=reply.text, reasoning_content=reply.reasoning or None)
    return ChatReply(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=reply.model,
        choices=[ReplyChoice(message=message, finish_reason=reply.last.finish_reason)],
        usage=reply.last.usage,
    )


@router.post("/vision", responses=told(403, 415), summary="Ask about an image")
async def vision(desk: TheDesk, request: Request, body: VisionRequest) -> TextReply:
    """What a model that sees images says of one, which must lie in a folder that the service may show."""
    url = await run_in_threadpool(data_url, body.image_path, desk.options.images)
    model = await run_in_threadpool(vision_model, desk.lm, body.model or desk.settings.vision_model)
    parts = [{"type": "text", "text": body.prompt}, {"type": "image_url", "image_url": {"url": url}}]
    asked = desk.in_turn(_chatting(desk, body, model, [{"role": "user", "content": parts}]))
    return _text(await _reply(request, asked))


@router.post("/tools", summary="Let a model ask for functions")
async def tools(desk: TheDesk, request: Request, body: ToolsRequest) -> ToolsReply:
    """Which of the functions a model wants called, and with what; whoever asks has to call them."""
    offers = [_offer(tool) for tool in body.tools]
    asked = desk.in_turn(_chatting(desk, body, body.model, [{"role": "user", "content": body.prompt}], offers))
    reply = await _reply(request, asked)
    calls = [(call.id, call.name, call.arguments) for call in reply.last.tool_calls]
    if not calls:  # small models write them as text, which their server does not recognise
        found = calls_in_text(reply.text, [tool.name for tool in body.tools])
        calls = [(f"call_{at}", name, arguments) for at, (name, arguments) in enumerate(found)]
    return ToolsReply(**_text(reply).model_dump(), tool_calls=[_call(*call) for call in calls])


# -- what a model writes -----------------------------------------------------------------------------------------------

Deltas = Generator[Delta, None, None]


@dataclass(frozen=True, slots=True)
class _Reply:
    """All that a model wrote; `last` is its last piece."""

    model: str
    text: str
    reasoning: str
    last: Delta


Asked = AsyncGenerator[Delta | _Reply | Notice | Silence, None]


def _generated(desk: Desk, model: str | None, ask: Callable[[str | None], Deltas], put: Put[Delta | _Reply]) -> None:
    if model is not None:  # a name that no model has must not be remembered as one
        model = choose(desk.lm.models(), "llm", model).key
    text, reasoning, last = "", "", Delta()
    with closing(ask(model)) as deltas:
        for last in deltas:
            text = last.text if last.again else text + last.text
            reasoning += last.reasoning
            put(last)
    put(_Reply(desk.lm.chat_model(model).model.key, text, reasoning, last))


def _chatting(
    desk: Desk,
    body: GenerationRequest,
    model: str | None,
    messages: Sequence[Message],
    offers: Sequence[dict[str, Any]] = (),
) -> Callable[[Put[Delta | _Reply]], None]:
    def ask(chosen: str | None) -> Deltas:
        return desk.lm.respond_stream(
            messages, model=chosen, max_tokens=body.max_tokens, temperature=body.temperature, tools=offers
        )

    return partial(_generated, desk, model, ask)


async def _reply(request: Request, asked: Asked) -> _Reply:
    reply = await outcome(request, asked)
    assert isinstance(reply, _Reply)
    return reply


def _text(reply: _Reply) -> TextReply:
    last = reply.last
    return TextReply(text=reply.text, model=reply.model, finish_reason=last.finish_reason, usage=last.usage)


async def _pieces(asked: Asked) -> AsyncGenerator[bytes, None]:
    """A completion: `{"text"}` pieces, `{"again": true}` on one that voids all before it, at last the whole."""
    async with aclosing(asked):
        async for one in asked:
            if isinstance(one, Silence | Notice):
                yield COMMENT
            elif isinstance(one, _Reply):
                yield event({"text": "", **_text(one).model_dump(exclude={"text"})})
            elif one.text:
                yield event({"text": one.text, **({"again": True} if one.again else {})})
    yield DONE


async def _chunks(asked: Asked) -> AsyncGenerator[bytes, None]:
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time())}

    def chunk(delta: dict[str, str], finish: str | None = None, model: str = "") -> dict[str, Any]:
        return {**head, "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield event(chunk({"role": "assistant", "content": ""}))
    async with aclosing(asked):
        async for one in asked:
            if isinstance(one, Silence | Notice):
                yield COMMENT
            elif isinstance(one, _Reply):
                yield event(chunk({}, one.last.finish_reason, one.model) | {"usage": one.last.usage})
            else:
                if one.reasoning:
                    yield event(chunk({"reasoning_content": one.reasoning}))
                if one.text:
                    yield event(chunk({"content": one.text}) | ({"again": True} if one.again else {}))
    yield DONE


def _error(exc: errors.RagError | Refused) -> bytes:
    return event({"error": problem_of(exc).model_dump()})


# -- functions ---------------------------------------------------------------------------------------------------------


def _offer(tool: ToolForm) -> dict[str, Any]:
    given = tool.parameters
    whole = given if given.get("type") == "object" else {"type": "object", "properties": given, "required": list(given)}
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": whole}}


def _call(id_: str, name: str, written: str) -> CallForm:
    try:
        arguments = json.loads(written or "{}")
    except ValueError:
        arguments = None
    return CallForm(id=id_, name=name, arguments=arguments if isinstance(arguments, dict) else None, raw=written)
