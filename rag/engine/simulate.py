"""Faults on request, so that a client can be hardened against what real servers do. Inert unless asked for.

What happens to models is done to the real ones: loads wait or are refused, workers are killed, instances unloaded.
What is wrong with answers is done to the engine's own good answers, on their way out.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.engine.faults import UnknownModel, WorkerRefused
from rag.engine.guardrail import STOPPED
from rag.engine.instance import Instance
from rag.engine.instances import Instances
from rag.engine.library import Library, Model
from rag.engine.process import WorkerFailed, WorkerProcess, start_worker
from rag.engine.worker import WorkerSpec

log = logging.getLogger("rag.engine")

EMBEDDINGS = frozenset({"/v1/embeddings", "/api/v0/embeddings"})
OPENAI_CHAT = frozenset({"/v1/chat/completions", "/api/v0/chat/completions", "/v1/completions", "/api/v0/completions"})
CHAT = OPENAI_CHAT | {"/v1/responses", "/v1/messages", "/api/v1/chat"}

ANOTHER_MODEL = "another-model"
EVENTS_BEFORE_THE_BREAK = 2
STREAM_ERROR = "The model has crashed without additional information. (Exit code: 6)."

Body = dict[str, Any]


class Simulation:
    """The faults that were asked for, and how often each is still to happen."""

    def __init__(self, faults: Mapping[str, float]) -> None:
        self._left = dict(faults)
        self._number = dict(faults)

    def __bool__(self) -> bool:
        return bool(self._left)

    def _asked(self, name: str) -> bool:
        return self._left.get(name, 0) > 0

    def _happens(self, name: str) -> bool:
        if not self._asked(name):
            return False
        self._left[name] -= 1
        log.warning("simulated fault: %s", name)
        return True

    # What happens to models

    async def start(self, spec: WorkerSpec) -> WorkerProcess:
        """Start a worker: late, or not at all."""
        if self._asked("slow-load"):
            log.warning("simulated fault: slow-load")
            await asyncio.sleep(self._number["slow-load"])
        if self._happens("refuse-load"):
            raise WorkerFailed(STOPPED)
        return await start_worker(spec)

    async def before_use(self, instances: Instances, instance: Instance) -> None:
        """Do to an instance what is to happen between its choice and its use."""
        if self._happens("evict-in-queue"):
            with suppress(UnknownModel):
                await instances.unload(instance.id)
        if instance.worker is not None and self._happens("crash-once"):
            with suppress(ProcessLookupError):
                instance.worker.process.kill()
        if instance.model.kind == "llm" and self._happens("n_ctx-overflow"):
            context = instance.spec.context_length
            message = f"request ({context + 1} tokens) exceeds the available context size ({context} tokens)"
            raise WorkerRefused(400, message, "exceed_context_size_error")

    def library(self, library: Library) -> Library:
        """Return the library as it is to look."""
        return MistypedLibrary(library.folders) if self._asked("wrong-type") else library

    # What is wrong with answers

    def changed_request(self, path: str, body: Body) -> Body | None:
        """Return what the route gets in place of the client's body; None: the body as it is."""
        texts = body.get("input")
        if path not in EMBEDDINGS or not self._asked("cut-silently") or not isinstance(texts, str | list):
            return None
        log.warning("simulated fault: cut-silently")
        words = int(self._number["cut-silently"])
        if isinstance(texts, str):
            return {**body, "input": _first_words(texts, words)}
        return {**body, "input": [_first_words(text, words) if isinstance(text, str) else text for text in texts]}

    def instead(self, scope: Scope) -> Body | None:
        """Return the body of an answer in place of any work."""
        path = scope["path"]
        if self._happens("200-error"):
            return {"error": f"Unexpected endpoint or method. ({scope['method']} {path})"}
        return None

    def changed_answer(self, path: str, body: Body) -> Body:
        """Return a whole answer as it is to look."""
        rows = body.get("data")
        if path in EMBEDDINGS and isinstance(rows, list) and rows:
            if self._happens("shuffled-batch"):
                body = {**body, "data": rows[::-1]}
            if self._happens("short-batch"):
                body = {**body, "data": [row for row in body["data"] if row["index"] != len(rows) - 1]}
        if self._happens("wrong-model"):
            body = _renamed(body)
        return body

    def changed_stream(self, path: str) -> Callable[[bytes], list[bytes]] | None:
        """Return what turns each event of a stream into those that are to go out; it may raise BreakOff."""
        if path not in CHAT:
            return None
        if path in OPENAI_CHAT and self._happens("empty-stream"):
            return lambda event: [] if _carries_text(event) else [event]
        if self._happens("wrong-model"):
            return lambda event: [_rewritten(event)]
        in_error = self._happens("error-in-stream")
        if not in_error and not self._happens("disconnect-mid-stream"):
            return None
        sent = 0

        def broken(event: bytes) -> list[bytes]:
            nonlocal sent
            sent += 1
            if sent <= EVENTS_BEFORE_THE_BREAK:
                return [event]
            raise BreakOff(_error_event(path) if in_error else None)

        return broken


class MistypedLibrary(Library):
    """A library that takes embedding models for chat models, as LM Studio does with architectures it does not know."""

    def models(self) -> list[Model]:
        """Return what is there now."""
        return [replace(model, kind="llm") for model in super().models()]

    def find(self, key: str) -> Model | None:
        """Return the model with that key."""
        found = super().find(key)
        return replace(found, kind="llm") if found else None


class BreakOff(Exception):
    """The stream is over, after one last event if there is one; without one the connection breaks."""

    def __init__(self, last: bytes | None) -> None:
        super().__init__()
        self.last = last


class Simulated:
    """Puts a simulation's wrong answers between the application and its clients."""

    def __init__(self, app: ASGIApp, simulation: Simulation) -> None:
        self._app = app
        self._simulation = simulation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in CHAT | EMBEDDINGS:
            await self._app(scope, receive, send)
            return
        if (instead := self._simulation.instead(scope)) is not None:
            await JSONResponse(instead)(scope, receive, send)
            return
        raw = await _whole_body(receive)
        with suppress(ValueError):
            body = json.loads(raw)
            changed = self._simulation.changed_request(scope["path"], body) if isinstance(body, dict) else None
            raw = raw if changed is None else json.dumps(changed).encode()
        answer = _Answer(self._simulation, scope["path"], send)
        with suppress(BreakOff):
            await self._app(scope, _replay(raw, receive), answer.send)


class _Answer:
    """One answer on its way out: its body is held back until it is whole, a stream's events are passed one by one."""

    def __init__(self, simulation: Simulation, path: str, send: Send) -> None:
        self._simulation = simulation
        self._path = path
        self._send = send
        self._start: Message = {}
        self._held = b""
        self._change: Callable[[bytes], list[bytes]] | None = None
        self._plain = True

    async def send(self, message: Message) -> None:
        """Take the next message of the application."""
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            streamed = kind.startswith("text/event-stream")
            self._change = self._simulation.changed_stream(self._path) if streamed else None
            self._plain = message["status"] != 200 or (streamed and self._change is None)
            self._start = message
            if self._plain or streamed:
                await self._send(message)
        elif self._plain or message["type"] != "http.response.body":
            await self._send(message)
        elif self._change is not None:
            await self._pass_events(message)
        else:
            self._held += message.get("body", b"")
            if not message.get("more_body"):
                await self._answer_whole()

    async def _pass_events(self, message: Message) -> None:
        assert self._change is not None
        self._held += message.get("body", b"")
        *events, self._held = self._held.split(b"\n\n")
        for event in events:
            try:
                for piece in self._change(event):
                    await self._send({"type": "http.response.body", "body": piece + b"\n\n", "more_body": True})
            except BreakOff as end:
                if end.last is not None:
                    await self._send({"type": "http.response.body", "body": end.last, "more_body": False})
                raise
        if not message.get("more_body"):
            await self._send({"type": "http.response.body", "body": self._held, "more_body": False})

    async def _answer_whole(self) -> None:
        body = self._held
        with suppress(ValueError):
            answer = json.loads(body)
            body = json.dumps(self._simulation.changed_answer(self._path, answer), ensure_ascii=False).encode()
        MutableHeaders(raw=self._start["headers"])["content-length"] = str(len(body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


async def _whole_body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return rest.pop() if rest else await receive()

    return again


def _first_words(text: str, count: int) -> str:
    return " ".join(text.split()[:count])


def _renamed(value: Any) -> Any:
    """Return an answer, or an event of one, with another model's name wherever a model is named."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = ("model", "model_instance_id", "system_fingerprint")
    return {key: ANOTHER_MODEL if key in names else _renamed(item) for key, item in value.items()}


def _rewritten(event: bytes) -> bytes:
    lines = event.split(b"\n")
    for i, line in enumerate(lines):
        with suppress(ValueError):
            if line.startswith(b"data: "):
                lines[i] = b"data: " + json.dumps(_renamed(json.loads(line[6:])), ensure_ascii=False).encode()
    return b"\n".join(lines)


def _carries_text(event: bytes) -> bool:
    try:
        choices = json.loads(event.removeprefix(b"data: ")).get("choices") or [{}]
    except ValueError:
        return False
    return bool(choices[0].get("delta") or choices[0].get("text"))


def _error_event(path: str) -> bytes:
    if path == "/api/v1/chat":
        body: Body = {"type": "error", "error": {"type": "internal_error", "message": STREAM_ERROR, "code": "unknown"}}
    elif path == "/v1/messages":
        body = {"type": "error", "error": {"type": "api_error", "message": STREAM_ERROR}}
    else:
        body = {"error": {"message": STREAM_ERROR}}
    return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"
