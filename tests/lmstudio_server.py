"""An LM Studio of recorded shapes for tests: it keeps instances and memory, and fails where a test tells it to.

Real inference is the engine's; this server is for what a real one does rarely. Its bodies are LM Studio's.
"""

import hashlib
import json
import re
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rag.settings import Settings

EMBED, CHAT, OTHER = "text-embedding-nomic-embed-text-v1.5", "qwen/qwen3-4b", "google/gemma-3-12b"
GUARDRAIL = (
    "Model loading was stopped due to insufficient system resources. Continuing to load the model would likely "
    "overload your system and cause it to freeze."
)
IN_QUEUE = "Model was unloaded while the request was still in queue.."
CRASHED = "The model has crashed without additional information. (Exit code: 6)."
NO_MODELS = "No models loaded. Please load a model in the developer page or use the 'lms load' command."
N_KEEP = (
    "The number of tokens to keep from the initial prompt is greater than the context length. "
    "Try to load the model with a larger context length, or provide a shorter input"
)


@dataclass
class Row:
    """A downloaded model and its instances' contexts by id. Vectors depend on `file`, as they do on a model's file."""

    type: str
    most: int
    size: int
    dimension: int = 64
    file: str = ""
    vision: bool = False
    instances: dict[str, int] = field(default_factory=dict)


@dataclass
class FakeLMStudio:
    """The server's state, and the answers that a test has put before the usual ones."""

    rows: dict[str, Row] = field(
        default_factory=lambda: {
            EMBED: Row("embedding", 2048, 84_000_000),
            CHAT: Row("llm", 40_960, 2_500_000_000),
            OTHER: Row("llm", 131_072, 8_000_000_000),
        }
    )
    says: str = "The mast clamp bolts need 9 Nm."
    tokens: Callable[[str], int] | None = None  # counts prompts, tells usage, refuses overflow as llama.cpp does
    prompts: list[int] = field(default_factory=list)  # tokens of those that it took
    waiting: threading.Event = field(default_factory=threading.Event)  # a stream has come to an event of the test's
    broken_off: threading.Event = field(default_factory=threading.Event)  # a client went away in the middle
    memory: int | None = None  # tokens of context that all instances together may have
    port: int = 0
    instead: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    seen: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """Settings for a client of it."""
        return Settings(host=f"127.0.0.1:{self.port}", engine=False, embedding_model=EMBED, chat_model=CHAT)

    @property
    def loaded(self) -> dict[str, int]:
        """The contexts of all instances by id."""
        return {id_: context for row in self.rows.values() for id_, context in row.instances.items()}

    def bodies(self, path: str) -> list[Any]:
        """What was sent to a path."""
        return [body for at, body in self.seen if at == path]

    def fail(self, path: str, status: int, error: Any, *, unload: str | None = None) -> None:
        """Answer the next request to a path with an error, after an instance has gone if one is named."""
        self.instead[path].append((status, {"error": error}, unload))

    def stream(self, *events: str | float | threading.Event | None) -> None:
        """Answer the next chat with these events, raw; None breaks the connection, a number is seconds of silence.

        A threading.Event is waited for.
        """
        self.instead["/v1/chat/completions"].append(events)

    def say(self, *pieces: str, finish: str = "stop", reasoning: str = "") -> None:
        """Answer the next chat with these pieces, after reasoning if there is any."""
        thought = chunk_of(CHAT, "").replace('"delta": {}', f'"delta": {json.dumps({"reasoning_content": reasoning})}')
        events = [thought] if reasoning else []
        self.stream(
            *events, *(chunk_of(CHAT, piece) for piece in pieces), chunk_of(CHAT, "", finish), "data: [DONE]\n\n"
        )


def words(text: str) -> list[str]:
    """What counts as a token here."""
    return re.findall(r"\w+|[^\w\s]", text)


def chunk_of(model: str, text: str, finish: str | None = None) -> str:
    """One event of a chat stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text} if text else {}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"


def completion_of(model: str, text: str, finish: str | None) -> str:
    """One event of a completion without a template."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model, "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"


@contextmanager
def lm_studio(port: int = 0) -> Iterator[FakeLMStudio]:
    """A running server."""
    state = FakeLMStudio()
    open_: set[Any] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            open_.add(self.connection)

        def finish(self) -> None:
            open_.discard(self.connection)
            super().finish()

        def do_GET(self) -> None:
            self._answer(*_get(state, self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.seen.append((self.path, body))
            planned = state.instead[self.path].popleft() if state.instead[self.path] else None
            if planned and isinstance(planned[0], int):
                status, answer, gone = planned
                for row in state.rows.values():
                    row.instances.pop(gone, None)
                self._answer(status, answer)
            elif planned is not None:
                self._stream(planned)
            elif self.path == "/v1/chat/completions" and body.get("stream"):
                problem = _missing(state, body["model"])
                if problem:
                    self._answer(400, {"error": problem})
                    return
                used = _prompt_tokens(state, body)
                context = state.loaded[body["model"]]
                if used > context:
                    message = f"request ({used} tokens) exceeds the available context size ({context} tokens)"
                    self._answer(400, {"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}})
                    return
                state.prompts.append(used)
                pieces = [chunk_of(body["model"], word) for word in re.findall(r"\S+\s*", state.says)]
                usage = {"prompt_tokens": used, "completion_tokens": 9, "total_tokens": used + 9}
                told = f"data: {json.dumps({'model': body['model'], 'choices': [], 'usage': usage})}\n\n"
                last = [chunk_of(body["model"], "", "stop"), told if used else "", "data: [DONE]\n\n"]
                self._stream([*pieces, *filter(None, last)])
            elif self.path == "/v1/completions" and not _missing(state, body["model"]):
                pieces = [(word, None) for word in re.findall(r"\S+\s*", state.says)] + [("", "stop")]
                self._stream([*(completion_of(body["model"], *piece) for piece in pieces), "data: [DONE]\n\n"])
            else:
                self._answer(*_post(state, self.path, body))

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, events: Any) -> None:
            with suppress(ConnectionError):  # a client that waits no longer
                self._streamed(events)

        def _streamed(self, events: Any) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in events:
                if event is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                if isinstance(event, float):
                    time.sleep(event)
                    continue
                if isinstance(event, threading.Event):
                    state.waiting.set()
                    event.wait(20)
                    continue
                data = event.encode()
                try:
                    self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                except OSError:
                    state.broken_off.set()
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()
        for connection in list(open_):  # kept alive, they would be answered still
            with suppress(OSError):  # its client was faster
                connection.shutdown(socket.SHUT_RDWR)


def _prompt_tokens(state: FakeLMStudio, body: Any) -> int:
    return state.tokens(body["messages"][0]["content"]) + 30 if state.tokens else 0


def _get(state: FakeLMStudio, path: str) -> tuple[int, Any]:
    if path == "/lmstudio-greeting":
        return 200, {"lmstudio": True}
    if path == "/api/v1/models" and not state.instead[path]:
        return 200, {"models": [_row(key, row) for key, row in state.rows.items()]}
    if state.instead[path]:
        status, body, _ = state.instead[path].popleft()
        return status, body
    return 200, {"error": f"Unexpected endpoint or method. (GET {path})"}


def _row(key: str, row: Row) -> dict[str, Any]:
    instances = [{"id": id_, "config": {"context_length": context}} for id_, context in row.instances.items()]
    return {
        "type": row.type,
        "key": key,
        "display_name": key,
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
        "size_bytes": row.size,
        "loaded_instances": instances,
        "max_context_length": row.most,
        **({"capabilities": {"vision": row.vision, "trained_for_tool_use": True}} if row.type == "llm" else {}),
    }


def _post(state: FakeLMStudio, path: str, body: Any) -> tuple[int, Any]:
    if path == "/api/v1/models/load":
        return _load(state, body["model"], body["context_length"])
    if path == "/api/v1/models/unload":
        for row in state.rows.values():
            if row.instances.pop(body["instance_id"], None):
                return 200, {"instance_id": body["instance_id"]}
        return 404, {"error": {"type": "model_not_found", "message": f"Invalid model identifier {body['instance_id']}"}}
    if path == "/v1/embeddings":
        if problem := _missing(state, body["model"]):
            return 400, {"error": problem}
        model = next(row for row in state.rows.values() if body["model"] in row.instances)
        rows = [
            {"object": "embedding", "index": at, "embedding": _vector(text, model)}
            for at, text in enumerate(body["input"])
        ]
        return 200, {"object": "list", "data": rows, "model": body["model"], "usage": {"prompt_tokens": 0}}
    return 200, {"error": f"Unexpected endpoint or method. (POST {path})"}


def _load(state: FakeLMStudio, key: str, context: int) -> tuple[int, Any]:
    if key not in state.rows:
        return 404, {"error": {"type": "model_not_found", "message": f'Invalid model identifier "{key}"'}}
    if state.memory is not None and sum(state.loaded.values()) + context > state.memory:
        message = f"Failed to load LLM '{key}': Error: {GUARDRAIL}"
        return 500, {"error": {"type": "model_load_failed", "message": message}}
    row, number = state.rows[key], 2
    id_ = key
    while id_ in row.instances:
        id_, number = f"{key}:{number}", number + 1
    row.instances[id_] = context
    return 200, {
        "type": row.type,
        "instance_id": id_,
        "load_time_seconds": 0.1,
        "status": "loaded",
        "load_config": {"context_length": context},
    }


def _missing(state: FakeLMStudio, model: str) -> Any:
    return None if model in state.loaded else NO_MODELS


def _vector(text: str, model: Row) -> list[float]:
    vector = [0.0] * model.dimension
    for word in words(text.lower()):
        digest = hashlib.blake2b(word.encode(), digest_size=1, key=model.file.encode()).digest()
        vector[digest[0] % model.dimension] += 1.0
    return vector
